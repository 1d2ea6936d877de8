"""Servers that tuneonce is loaded into."""
