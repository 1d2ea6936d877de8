"""What is named and kept: the key, the world, the records and how they are written as bytes."""
