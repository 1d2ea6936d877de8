"""What one start needed is recorded, and made ready at the next."""
