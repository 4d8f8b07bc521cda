"""The trace formats of the field, one module a family. Each reader gives a `Reading`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rota.core.errors import InputError
from rota.serving.model import Workload


@dataclass(frozen=True)
class Reading:
    """What came out of a file.

    Attributes:
        workload: the requests.
        format: name of the format.
        left_out: rows that are no requests to serve, by reason (`failed`, `empty prompt`, `no output`, `other model`
            ...).
        notes: what the reader had to assume, in words.
    """

    workload: Workload
    format: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def fail_share(self) -> float:
        """Share of failed requests among those that were sent."""
        failed = self.left_out.get("failed", 0)
        return failed / max(failed + len(self.workload), 1)


def keep(path: Path, good: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, int]]:
    """Rows that pass every test, and how many fall to each; a row counts under the first test it fails.

    Raises:
        InputError: no row is left.
    """
    chosen = np.ones(len(next(iter(good.values()))), dtype=bool)
    left_out = {}
    for reason, passes in good.items():
        fallen = int(np.count_nonzero(chosen & ~passes))
        if fallen:
            left_out[reason] = fallen
        chosen &= passes
    if not chosen.any():
        why = ", ".join(f"{count} x {reason}" for reason, count in left_out.items())
        raise InputError(str(path), f"no request to serve ({why or 'no rows'})", "at least one")
    return chosen, left_out


def codes(names: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Names as numbers in order of first appearance, and the names."""
    distinct, first, code = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[code], tuple(str(name) for name in distinct[order])
