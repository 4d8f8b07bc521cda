"""Learning-rate schedules in other people's training loops: `torch`, `transformers`, `optax`, `timm`, `keras`.

Each module here is imported on demand, and imports the library that it is named after.
"""
