"""A distribution of output lengths on finitely many token counts, and its Gittins index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rota.core.errors import InputError
from rota.serving.model import Floats, Ints

RESOLUTION = 64
"""Atoms by which a continuous quantile function is represented."""


@dataclass(frozen=True, slots=True, eq=False)
class LengthDistribution:
    """How many tokens a request may generate, and how probably; from `of`, `point`, `summary` or `from_quantiles`.

    Attributes:
        support: (n,) token counts, ascending and distinct, >= 1.
        weight: (n,) probabilities, > 0, that add up to 1.
    """

    support: Ints
    weight: Floats

    @classmethod
    def of(cls, lengths: ArrayLike, weights: ArrayLike | None = None) -> LengthDistribution:
        """The empirical distribution of `lengths` (tokens), equally likely unless `weights` are given.

        Raises:
            InputError: no length, a length below 1, or weights that are negative, all zero, or not one for each length.
        """
        x = np.atleast_1d(np.asarray(lengths, dtype=np.int64))
        w = np.ones(len(x)) if weights is None else np.atleast_1d(np.asarray(weights, dtype=np.float64))
        _check(x, w)
        support, where = np.unique(x[w > 0], return_inverse=True)
        weight = np.bincount(where, w[w > 0])
        return cls(support, weight / weight.sum())

    @classmethod
    def point(cls, length: int) -> LengthDistribution:
        """Certainty: exactly `length` tokens."""
        return cls.of([length])

    @classmethod
    def from_quantiles(cls, levels: ArrayLike, values: ArrayLike) -> LengthDistribution:
        """From a few quantiles: straight lines between them, flat beyond the first and the last.

        Args:
            levels: (k,) ascending probabilities in (0, 1).
            values: (k,) tokens; crossed quantiles are sorted (rearrangement, Chernozhukov et al. 2010), values below
                1 raised to 1.
        """
        at = (np.arange(RESOLUTION) + 0.5) / RESOLUTION
        curve = np.interp(at, np.asarray(levels, dtype=np.float64), np.sort(np.asarray(values, dtype=np.float64)))
        return cls.of(np.maximum(np.rint(curve), 1))

    @classmethod
    def summary(cls, lengths: ArrayLike) -> LengthDistribution:
        """A large sample by at most `RESOLUTION` atoms, the means of equal shares of it in ascending order."""
        x = np.sort(np.atleast_1d(np.asarray(lengths, dtype=np.int64)))
        if len(x) <= RESOLUTION:
            return cls.of(x)
        shares = np.array_split(x, RESOLUTION)
        return cls.of([round(float(share.mean())) for share in shares], [len(share) for share in shares])

    def __len__(self) -> int:
        return len(self.support)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LengthDistribution):
            return NotImplemented
        return np.array_equal(self.support, other.support) and np.array_equal(self.weight, other.weight)

    __hash__ = None  # type: ignore[assignment]

    def mean(self) -> float:
        """Expected length, tokens."""
        return float(self.support @ self.weight)

    def std(self) -> float:
        """Standard deviation, tokens."""
        return float(np.sqrt(self.weight @ (self.support - self.mean()) ** 2))

    def cdf(self, x: float) -> float:
        """P(length <= x)."""
        return float(self.weight[: np.searchsorted(self.support, x, side="right")].sum())

    def quantile(self, q: float) -> int:
        """The smallest length x with P(length <= x) >= q, for q in [0, 1]."""
        if not 0 <= q <= 1:
            raise InputError("quantile", f"{q:g}", "a probability in [0, 1]")
        reached = np.searchsorted(self.weight.cumsum(), q - 1e-12)
        return int(self.support[min(int(reached), len(self) - 1)])

    def median(self) -> int:
        """The prediction with the least expected absolute error, tokens."""
        return self.quantile(0.5)

    def mean_deviation(self) -> float:
        """E|length - median|: the absolute error that even this distribution pays if it is the true one, tokens."""
        return float(self.weight @ np.abs(self.support - self.median()))

    def mean_difference(self) -> float:
        """E|X - X'| of two independent lengths, tokens (Gini's mean difference): twice the CRPS that the truth pays."""
        below = self.weight.cumsum()[:-1]
        return float(2 * (below * (1 - below)) @ np.diff(self.support))

    def sample(self, rng: np.random.Generator) -> int:
        """One length, tokens."""
        return int(self.samples(rng, 1)[0])

    def samples(self, rng: np.random.Generator, size: int) -> Ints:
        """(size,) independent lengths, tokens."""
        return rng.choice(self.support, p=self.weight, size=size)

    def given_more_than(self, age: int) -> LengthDistribution:
        """Distribution of the tokens still to come, given that `age` tokens came and the request did not end.

        A request older than the whole support has proved the prediction wrong; it is taken to be halfway (`age`
        tokens to come), the doubling rule of guessing an unknown size. This choice is Rota's own.
        """
        if age <= 0:
            return self
        first = int(np.searchsorted(self.support, age, side="right"))
        if first == len(self):
            return LengthDistribution.point(age)
        left = self.weight[first:]
        return LengthDistribution(self.support[first:] - age, left / left.sum())

    def gittins(self, age: int = 0) -> float:
        """Gittins index of a request that has generated `age` tokens, per token: serve the largest first.

            G(age) = sup over t of  P(R <= t) / E[min(R, t)],   R the tokens still to come

        the best ratio of the chance to finish within t further tokens to the work that this costs. Serving the largest
        index minimises the mean flow time of an M/G/1 queue when preemption is free (Gittins 1989; Aalto, Ayesta and
        Righter 2009). On a finite support the supremum is reached at one of its points, so it takes O(n). For a certain
        length, 1 / G is what remains of it.
        """
        rest = self.given_more_than(age)
        done = rest.weight.cumsum()
        passed = (rest.support * rest.weight).cumsum()
        work = passed + rest.support * (1 - done)
        return float((done / work).max())


def _check(lengths: Ints, weights: Floats) -> None:
    if not len(lengths):
        raise InputError("length distribution", "no length", "at least one")
    if lengths.min() < 1:
        raise InputError("length distribution", f"a length of {lengths.min()} tokens", "lengths of at least 1")
    if len(weights) != len(lengths):
        raise InputError("length distribution", f"{len(weights)} weights", f"one for each of {len(lengths)} lengths")
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
        raise InputError(
            "length distribution", "weights that are negative, NaN or all zero", "weights >= 0, at least one > 0"
        )
