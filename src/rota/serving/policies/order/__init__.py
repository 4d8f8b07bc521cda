"""Which waiting request an instance admits next."""
