"""What the machine, the operating system and this process are like: facts that know no kernel."""
