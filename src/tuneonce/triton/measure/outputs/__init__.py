"""What launches write: the memory, its bits, and how far outputs are apart."""
