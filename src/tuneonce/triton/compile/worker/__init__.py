"""What runs in the helper: it imports the standard library and triton, and nothing else."""
