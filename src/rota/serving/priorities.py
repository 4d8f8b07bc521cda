"""Offline traces of priorities that change while requests run (FastSwitch's two, after Yin et al. 2024).

A trace is a sequence of rows, one an update, each with the priority of every conversation: it depends on the seed
alone, never on the schedule. `random`: every update draws all priorities afresh. `markov`: a conversation keeps its
priority from one update to the next with some probability, so that the urgent ones stay urgent for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rota.core.errors import InputError, UnknownName
from rota.core.seeds import stream
from rota.serving.model import Floats

KEEP = 0.9
"""Probability that a conversation of a Markov trace keeps its priority (not published; chosen here)."""


def random(conversations: int, seed: int) -> Iterator[Floats]:
    """Rows of (conversations,) priorities in [0, 1), independent of one another."""
    return markov(conversations, seed, keep=0.0)


def markov(conversations: int, seed: int, keep: float = KEEP) -> Iterator[Floats]:
    """Rows of (conversations,) priorities in [0, 1); each stays with probability `keep`, else is drawn afresh."""
    rng = stream(seed, "priorities")
    row = rng.random(conversations)
    while True:
        yield row
        fresh = rng.random(conversations)
        stays = rng.random(conversations) < keep
        row = row * stays + fresh * ~stays


TRACES: dict[str, Callable[[int, int], Iterator[Floats]]] = {"random": random, "markov": markov}


def trace(name: str, conversations: int, seed: int) -> Iterator[Floats]:
    """The trace of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in TRACES:
        raise UnknownName("priority trace", name, TRACES)
    return TRACES[name](conversations, seed)


def iterations_between(frequency: float) -> int:
    """Engine iterations between updates at `frequency` updates an iteration (0.04: every 25).

    Raises:
        InputError: a frequency outside (0, 1].
    """
    if not 0 < frequency <= 1:
        raise InputError("frequency", f"{frequency}", "updates an iteration, in (0, 1]")
    return round(1 / frequency)
