"""What people ask about a store: what lies in it, why a key missed, and its upkeep."""
