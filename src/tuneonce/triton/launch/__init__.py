"""A launch from the kernel's call to its winner: known, found in the store, or tuned."""
