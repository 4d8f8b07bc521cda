"""Wrong orders, made on purpose: preference data for any ordered sequence (TEMPLE, Sec. 3).

A sequence of n elements is perturbed with a magnitude m. `drop` keeps n // m elements (at least one), `shuffle` and `reverse`
change the order of blocks of n // m elements. A large m destroys the most and is the easy case; m = 2 is subtle.
What comes back always differs from what went in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream

T = TypeVar("T")
MAGNITUDES = (16, 8, 4, 2)
"""TEMPLE's stages, easy to hard."""

LENGTHS = 1.5
"""Ratio of the lengths of a pair's texts up to which a re-ordered pair is kept."""


def drop(sequence: Sequence[T], magnitude: int, rng: np.random.Generator) -> list[T]:
    """n // m of the elements, at least one, in their order.

    Raises:
        InputError: fewer than two elements, or a magnitude below 2.
    """
    n = _checked("drop", sequence, magnitude)
    kept = np.sort(rng.choice(n, size=max(1, n // magnitude), replace=False))
    return [sequence[k] for k in kept]


def shuffle(sequence: Sequence[T], magnitude: int, rng: np.random.Generator) -> list[T]:
    """Blocks of n // m elements in a random order, drawn among those that change the sequence.

    Raises:
        InputError: every order of the blocks gives the sequence itself, or a magnitude below 2.
    """
    blocks = _blocks("shuffle", sequence, magnitude)
    original = list(sequence)
    if all(first + second == second + first for first, second in pairwise(blocks)):
        raise _same("shuffle", sequence)
    while True:
        found = _joined([blocks[k] for k in rng.permutation(len(blocks))])
        if found != original:
            return found


def reverse(sequence: Sequence[T], magnitude: int, rng: np.random.Generator | None = None) -> list[T]:
    """Blocks of n // m elements in reverse order; nothing is drawn.

    Raises:
        InputError: the result is the sequence itself, or a magnitude below 2.
    """
    found = _joined(_blocks("reverse", sequence, magnitude)[::-1])
    if found == list(sequence):
        raise _same("reverse", sequence)
    return found


PERTURBATIONS: dict[str, Callable[[Sequence, int, np.random.Generator], list]] = {
    "drop": drop,
    "shuffle": shuffle,
    "reverse": reverse,
}


@dataclass(frozen=True)
class Preference:
    """A pair for preference optimisation.

    Attributes:
        source: index of the sequence it was made of.
        kind: `drop`, `shuffle` or `reverse`.
        magnitude: of the perturbation.
        chosen: the text about the sequence.
        rejected: the text about the perturbed sequence.
    """

    source: int
    kind: str
    magnitude: int
    chosen: str
    rejected: str

    @property
    def fault(self) -> str | None:
        """Why TEMPLE's filters drop the pair; None if they keep it."""
        long, short = len(self.chosen), len(self.rejected)
        if self.chosen in self.rejected:
            return "chosen within rejected"
        if self.kind == "drop":
            return None if long > short else "rejected not shorter"
        return None if max(long, short) <= LENGTHS * min(long, short) else "lengths too different"


def preference_pairs(
    sequences: Sequence[Sequence[Hashable]],
    describe: Callable[[Sequence[Hashable]], str],
    magnitude: int,
    kinds: Sequence[str] = tuple(PERTURBATIONS),
    seed: int = 0,
) -> tuple[list[Preference], dict[str, int]]:
    """One pair for each sequence and kind of perturbation, less those that TEMPLE's filters drop.

    Args:
        sequences: ordered elements: clips, log lines, the steps of a plan.
        describe: gives the text about a sequence; called for the clean and the perturbed one.
        magnitude: of the perturbations.
        kinds: among `drop`, `shuffle`, `reverse`.
        seed: root seed; a pair's draws depend on it, the sequence's index, kind and magnitude alone.

    Returns:
        The pairs, and how many were left out for which reason.

    Raises:
        InputError: no such kind, or a magnitude below 2.
    """
    for kind in kinds:
        if kind not in PERTURBATIONS:
            raise InputError("kind", repr(kind), f"one of {', '.join(PERTURBATIONS)}")
    pairs, left_out = [], Counter[str]()
    for source, sequence in enumerate(sequences):
        chosen = describe(sequence)
        for kind in kinds:
            wrong = _perturbed(kind, sequence, magnitude, stream(seed, "perturb", source, kind, magnitude))
            pair = None if wrong is None else Preference(source, kind, magnitude, chosen, describe(wrong))
            fault = "no other order" if pair is None else pair.fault
            if pair is not None and fault is None:
                pairs.append(pair)
            else:
                left_out[str(fault)] += 1
    return pairs, dict(left_out)


def _perturbed(kind: str, sequence: Sequence[T], magnitude: int, rng: np.random.Generator) -> list[T] | None:
    _check_magnitude(kind, magnitude)
    try:
        return PERTURBATIONS[kind](sequence, magnitude, rng)
    except InputError:
        return None


def _check_magnitude(kind: str, magnitude: int) -> None:
    if magnitude < 2:
        raise InputError(f"{kind}: magnitude", str(magnitude), "a whole number from 2 (subtle) upwards")


def _checked(kind: str, sequence: Sequence[T], magnitude: int) -> int:
    _check_magnitude(kind, magnitude)
    if len(sequence) < 2:
        raise _same(kind, sequence)
    return len(sequence)


def _blocks(kind: str, sequence: Sequence[T], magnitude: int) -> list[list[T]]:
    n = _checked(kind, sequence, magnitude)
    size = max(1, n // magnitude)
    return [list(sequence[k : k + size]) for k in range(0, n, size)]


def _joined(blocks: Sequence[Sequence[T]]) -> list[T]:
    return [element for block in blocks for element in block]


def _same(kind: str, sequence: Sequence[T]) -> InputError:
    found = f"a sequence of {len(sequence)} that stays as it is"
    return InputError(kind, found, "at least two elements, in blocks that are not all alike")
