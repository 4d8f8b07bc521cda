"""Which running requests move, from where to where."""
