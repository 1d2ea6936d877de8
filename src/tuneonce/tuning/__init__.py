"""How a winner is found: pure decisions on numbers, with no clock, no I/O and no Triton."""
