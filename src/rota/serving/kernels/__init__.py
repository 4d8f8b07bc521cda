"""Numeric inner loops of the fleet simulator: structured arrays in, structured arrays out (Numba).

Only what `entry.py` compiles is cached on disk, with all that it calls, under a key that holds a digest of this whole folder: a
change in any of its files compiles them anew.
"""
