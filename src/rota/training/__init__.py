"""Schedules for training: learning rates with closed forms, and samples that come when they are useful.

from rota.training import rex, warmup

schedule = warmup(0.05) >> rex()
schedule(500, 10_000)           # the factor at step 500 of 10,000
schedule.over(10_000).table()   # all of them
"""

from rota.training.norm_file import NormRecord
from rota.training.refinement import refine, refine_online, warmup_polynomial
from rota.training.schedule import NoClosedForm, Plan, Schedule
from rota.training.shapes import (
    FAMILY,
    constant,
    cosine,
    exponential,
    hyperbolic,
    inverse_sqrt,
    k_decay,
    linear,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    rex,
    steps,
    table,
    warmup,
    warmup_stable_decay,
)
from rota.training.spelling import schedule

__all__ = [
    "FAMILY", "NoClosedForm", "NormRecord", "Plan", "Schedule", "constant", "cosine", "exponential", "hyperbolic",
    "inverse_sqrt", "k_decay", "linear", "one_cycle", "one_minus_sqrt", "polynomial", "refine", "refine_online",
    "rex", "schedule", "steps", "table", "warmup", "warmup_polynomial", "warmup_stable_decay",
]  # fmt: skip
