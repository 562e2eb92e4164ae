"""Where in a foreign object the networks are."""
