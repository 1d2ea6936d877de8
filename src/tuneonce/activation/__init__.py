"""How tuneonce is switched on in a process, and off again. See `activation.install`."""
