"""Makes the modules that these tests share (`tiny_model`, `every_policy`) importable."""
