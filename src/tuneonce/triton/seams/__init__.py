"""What is private in Triton and read or replaced here, with the versions it was read in."""
