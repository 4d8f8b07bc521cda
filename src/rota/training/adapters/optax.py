"""Schedules in optax: `optax.sgd(optax_schedule("warmup(0.05) >> rex()", total=10_000, base=0.1))`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rota.core.errors import InputError, optional
from rota.training.schedule import Schedule
from rota.training.spelling import schedule as parse

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 10_000_000
"""Steps of the longest run: its table takes 40 MB."""


def optax_schedule(schedule: Schedule | str, total: int, base: float = 1.0) -> Callable[[Any], Any]:
    """A callable from step to learning rate, for optax and any other JAX code; it works under `jit`, `vmap` and `scan`.

    The learning rates of all steps are worked out once, in float64 by the closed form, and kept as a table of `total` + 1 float32
    numbers; a call takes the number at the step. Compiled code cannot raise: steps before 0 and past `total` get those of the ends.

    Args:
        schedule: a schedule or its text.
        total: steps of the run, at most `MOST`.
        base: the learning rate that the factors multiply.

    Returns:
        steps (any shape, whole numbers) -> learning rates (same shape, float32).

    Raises:
        InputError: no such schedule, or a total out of range.
    """
    optional("optax")
    jnp = optional("jax.numpy")
    rates = rates_of(schedule, total, base)
    kept = jnp.asarray(rates)

    def learning_rate(step: Any) -> Any:
        return kept[jnp.clip(jnp.asarray(step), 0, total).astype(jnp.int32)]

    return learning_rate


def rates_of(schedule: Schedule | str, total: int, base: float) -> np.ndarray:
    """(total + 1,) float32 learning rates of the steps 0 .. total.

    Raises:
        InputError: no such schedule, or a total that is not a whole number from 1 to `MOST`.
    """
    found = parse(schedule) if isinstance(schedule, str) else schedule
    if isinstance(total, bool) or not isinstance(total, int | np.integer) or not 0 < total <= MOST:
        raise InputError("total", repr(total), f"a whole number of steps from 1 to {MOST:,}")
    return (base * found(np.arange(total + 1.0), int(total))).astype(np.float32)
