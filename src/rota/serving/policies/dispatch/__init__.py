"""Where a new request goes."""
