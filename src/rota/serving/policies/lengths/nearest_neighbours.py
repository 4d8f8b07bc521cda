"""The lengths of the past requests that were most like this one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.lengths import Features, FittedPredictor, LengthDistribution
from rota.serving.model import Ints


@dataclass(frozen=True)
class _Past:
    """Past requests of one kind, in ascending order of prompt length."""

    prompt: Ints
    length: Ints

    @classmethod
    def of(cls, prompt: Ints, length: Ints) -> _Past:
        order = np.argsort(prompt, kind="stable")
        return cls(prompt[order], length[order])

    def nearest(self, prompt: int, k: int) -> Ints:
        """Lengths of the k requests nearest by the ratio of prompt lengths, all within k of the insertion point."""
        at = int(np.searchsorted(self.prompt, prompt))
        near = slice(max(at - k, 0), at + k)
        distance = np.abs(np.log2(self.prompt[near] / prompt))
        return self.length[near][np.argsort(distance, kind="stable")[:k]]


@policy("serving.lengths", "nearest-neighbours", paper="castillo")
class NearestNeighbours(FittedPredictor):
    """The k past requests of the same tenant and model nearest in prompt length; of all if there are too few.

    Args:
        k: how many neighbours make the distribution.
    """

    def __init__(self, k: int = 64) -> None:
        if k < 1:
            raise InputError("nearest-neighbours(k=...)", str(k), "at least 1")
        self.k = k

    def _learn(self, features: Features, lengths: Ints) -> None:
        self._all = _Past.of(features.prompt, lengths)
        kinds, where = np.unique(np.column_stack([features.tenant, features.model]), axis=0, return_inverse=True)
        self._kinds = {
            tuple(kind): _Past.of(features.prompt[where == i], lengths[where == i])
            for i, kind in enumerate(kinds.tolist())
        }  # fmt: skip

    def predict_many(self, features: Features) -> list[LengthDistribution]:
        """One distribution for each row."""
        return [self._one(*row) for row in zip(features.prompt, features.tenant, features.model, strict=True)]

    def _one(self, prompt: int, tenant: int, model: int) -> LengthDistribution:
        past = self._kinds.get((int(tenant), int(model)), self._all)
        if len(past.prompt) < self.k:
            past = self._all
        return LengthDistribution.summary(past.nearest(prompt, self.k))
