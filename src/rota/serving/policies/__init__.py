"""Policies of serving, one file each, by kind of decision."""
