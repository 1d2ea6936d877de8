"""Candidates are timed on the device, and the winner is named."""
