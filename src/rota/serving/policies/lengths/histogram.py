"""A histogram of past lengths for each kind of request: tenant, model and size of prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.lengths import Features, FittedPredictor, LengthDistribution
from rota.serving.model import Ints


@policy("serving.lengths", "histogram", paper="castillo")
class Histogram(FittedPredictor):
    """Past lengths of requests of the same tenant, model and prompt size.

    A cell with fewer than `least` past requests gives way to tenant and model alone, and those to all requests.

    Args:
        bins_per_octave: prompt-length bins between one power of two and the next.
        least: fewest past requests that make a cell.
    """

    def __init__(self, bins_per_octave: int = 1, least: int = 30) -> None:
        if bins_per_octave < 1 or least < 1:
            raise InputError("histogram", f"bins_per_octave={bins_per_octave}, least={least}", "values of at least 1")
        self.bins_per_octave, self.least = bins_per_octave, least

    def _learn(self, features: Features, lengths: Ints) -> None:
        self._all = LengthDistribution.summary(lengths)
        self._groups = dict(self._cells(np.column_stack([features.tenant, features.model]), lengths))
        self._bins = dict(self._cells(self._keys(features), lengths))

    def predict_many(self, features: Features) -> list[LengthDistribution]:
        """One distribution for each row; rows of one cell share it."""
        return [
            self._bins.get(key) or self._groups.get(key[:2]) or self._all
            for key in map(tuple, self._keys(features).tolist())
        ]  # fmt: skip

    def _keys(self, features: Features) -> Ints:
        size = np.floor(np.log2(features.prompt) * self.bins_per_octave).astype(np.int64)
        return np.column_stack([features.tenant, features.model, size])

    def _cells(self, keys: Ints, lengths: Ints) -> Iterator[tuple[Any, LengthDistribution]]:
        cells, where = np.unique(keys, axis=0, return_inverse=True)
        by_cell = np.split(lengths[np.argsort(where, kind="stable")], np.bincount(where).cumsum()[:-1])
        for cell, past in zip(cells.tolist(), by_cell, strict=True):
            if len(past) >= self.least:
                yield tuple(cell), LengthDistribution.summary(past)
