"""Candidates are compiled in other processes, and their binaries arrive in Triton's cache."""
