"""Makes the modules that tests of serving share (`small_fleets`, `naive_engine`) importable from its folders."""
