"""What happened, as lines in a file, and what is read out of them."""
