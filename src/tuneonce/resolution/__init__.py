"""From a key to an answer of the store, and back: what a launch asks and what a tune publishes."""
