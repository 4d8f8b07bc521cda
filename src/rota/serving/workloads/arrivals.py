"""Arrival processes: when requests come, in seconds from 0."""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError
from rota.serving.model import Floats

EVEN = 1e-6
"""Below this coefficient of variation gaps are equal."""


def renewal(rng: np.random.Generator, rate: float, n: int, cv: float = 1.0) -> Floats:
    """(n,) arrival times with independent Gamma gaps of mean 1/`rate` seconds and coefficient of variation `cv`.

    Shape 1/cv^2 and scale cv^2/rate, as in the Llumnix artifact and in BurstGPT's modelled mode; `cv=1` is a Poisson
    process and `cv=0` a metronome. The first request comes after the first gap.

    Raises:
        InputError: rate, n or cv out of range.
    """
    for name, value, good in (("rate", rate, rate > 0), ("n", n, n >= 1), ("cv", cv, cv >= 0)):
        if not good:
            raise InputError(name, str(value), {"rate": "a number > 0", "n": "at least 1", "cv": "a number >= 0"}[name])
    if cv < EVEN:
        return np.arange(1, n + 1) / rate
    return np.cumsum(rng.gamma(1 / cv**2, cv**2 / rate, n))
