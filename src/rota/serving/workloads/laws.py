"""Laws of token counts: what a generator draws prompt and output lengths from.

A law is given as a number (always that many tokens), as a spec string such as `lognormal(mean=512, cv=1.2)`, or as an
object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np

from rota.core.errors import InputError, UnknownName
from rota.core.registry import parse
from rota.serving.model import Ints


@runtime_checkable
class Law(Protocol):
    """A distribution of token counts."""

    def sample(self, rng: np.random.Generator, size: int) -> Ints:
        """(size,) token counts, each at least 1."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Always `tokens`."""

    tokens: int

    def __post_init__(self) -> None:
        _positive(self, "tokens")

    def sample(self, rng: np.random.Generator, size: int) -> Ints:
        """(size,) equal token counts."""
        return np.full(size, self.tokens, dtype=np.int64)


@dataclass(frozen=True)
class LogNormal:
    """Log-normal with the given mean (tokens) and coefficient of variation, rounded, within [1, cap]."""

    mean: float
    cv: float = 1.0
    cap: int = 131072

    def __post_init__(self) -> None:
        _positive(self, "mean", "cv", "cap")

    def sample(self, rng: np.random.Generator, size: int) -> Ints:
        """(size,) token counts."""
        variance = math.log1p(self.cv**2)
        drawn = rng.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance), size)
        return np.clip(np.rint(drawn), 1, self.cap).astype(np.int64)


@dataclass(frozen=True)
class Uniform:
    """Every count from `low` to `high` tokens equally likely, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _positive(self, "low")
        if self.high < self.low:
            raise InputError("uniform(high=...)", str(self.high), f"at least low = {self.low}")

    def sample(self, rng: np.random.Generator, size: int) -> Ints:
        """(size,) token counts."""
        return rng.integers(self.low, self.high + 1, size)


@dataclass(frozen=True)
class Zipf:
    """Power law over ranks 1..2 `mean` - 1, the length generator of the Llumnix artifact (OSDI'24).

    A rank r has probability proportional to r^-`alpha`. The drawn ranks are scaled so that their own mean is `mean`,
    then rounded up and cut at `cap` tokens; so a sample keeps its mean but for the rounding (+ about 0.5) and the cut.
    """

    mean: int
    alpha: float
    cap: int = 6144

    def __post_init__(self) -> None:
        _positive(self, "mean", "alpha", "cap")

    def sample(self, rng: np.random.Generator | np.random.RandomState, size: int) -> Ints:
        """(size,) token counts."""
        ranks = np.arange(1, 2 * self.mean)
        weight = ranks**-self.alpha
        drawn = rng.choice(ranks, size, p=weight / weight.sum())
        return np.minimum(np.ceil(drawn * (self.mean / drawn.mean())), self.cap).astype(np.int64)


@dataclass(frozen=True)
class Quantiles:
    """A distribution known by some of its quantiles; log-linear between them.

    Attributes:
        levels: ascending, from 0 to 1.
        tokens: token count at each level, ascending, at least 1.
    """

    levels: tuple[float, ...]
    tokens: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.tokens) or len(self.levels) < 2:
            raise InputError(
                "quantiles(tokens=...)", f"{len(self.tokens)} values", f"one for each of {len(self.levels)} levels"
            )
        if list(self.levels) != sorted(self.levels) or list(self.tokens) != sorted(self.tokens) or min(self.tokens) < 1:
            raise InputError(
                "quantiles(...)", f"{self.levels}, {self.tokens}", "ascending levels and token counts >= 1"
            )

    def at(self, level: np.ndarray) -> Ints:
        """Token counts at the given levels."""
        drawn = np.exp(np.interp(level, self.levels, np.log(self.tokens)))
        return np.maximum(np.rint(drawn), 1).astype(np.int64)

    def sample(self, rng: np.random.Generator, size: int) -> Ints:
        """(size,) token counts."""
        return self.at(rng.random(size))


LAWS: dict[str, type] = {
    "fixed": Fixed, "lognormal": LogNormal, "uniform": Uniform, "zipf": Zipf, "quantiles": Quantiles,
}  # fmt: skip


def law(given: int | float | str | Law) -> Law:
    """The law that a number, a spec string or an object stands for.

    Raises:
        UnknownName: no such law, or no such parameter.
        InputError: a value out of range.
    """
    if isinstance(given, (int, float)):
        return Fixed(int(given))
    if not isinstance(given, str):
        return given
    name, arguments = parse(given)
    if name not in LAWS:
        raise UnknownName("law of lengths", name, LAWS)
    for key in arguments:
        if key not in _parameters(name):
            raise UnknownName(f"parameter of law {name}", key, _parameters(name))
    try:
        made: Law = LAWS[name](**arguments)
    except TypeError:
        raise InputError("law of lengths", repr(given), f"the parameters {', '.join(_parameters(name))}") from None
    return made


def _parameters(name: str) -> list[str]:
    return [field.name for field in fields(LAWS[name])]


def _positive(of: object, *names: str) -> None:
    for name in names:
        value = getattr(of, name)
        if not value > 0:
            raise InputError(f"{type(of).__name__.lower()}({name}=...)", f"{value}", "a number > 0")
