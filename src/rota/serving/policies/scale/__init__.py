"""How many instances run."""
