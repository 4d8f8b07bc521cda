"""Numeric inner loops of the fleet simulator: structured arrays in, structured arrays out (Numba)."""
