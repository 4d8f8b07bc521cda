"""What a preemptive run leaves behind for the verifier: every change of a memory, every copy, every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Memory = Literal["gpu", "cpu"]


class Take(NamedTuple):
    """An owner (a conversation) gets blocks of a memory, appended to its table."""

    time: float
    memory: Memory
    owner: int
    blocks: Sequence[int]


class Give(NamedTuple):
    """An owner gives blocks back, the last of its table."""

    time: float
    memory: Memory
    owner: int
    blocks: Sequence[int]


class Moved(NamedTuple):
    """A copy between the memories, `gpu[i]` <-> `cpu[i]`, issued at `time`, on the link from `start` to `end`.

    Afterwards the target holds the KV of the owner's first `tokens` tokens.
    """

    time: float
    start: float
    end: float
    owner: int
    outward: bool
    gpu: Sequence[int]
    cpu: Sequence[int]
    tokens: int


class Step(NamedTuple):
    """An engine step, or several alike: reads each owner's first `before` tokens of KV and writes up to `after`."""

    time: float
    end: float
    owners: Sequence[int]
    before: Sequence[int]
    after: Sequence[int]


Event = Take | Give | Moved | Step
