"""The family of schedules. Each is a profile over the share s = step / total of its part of the run, unless it says otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from rota.core.errors import InputError
from rota.training.schedule import TINY, Floats, Length, Schedule, Shape, check_length, check_number, steps_of, whole


def _require(good: bool, where: str, found: object, expected: str) -> None:
    if not good:
        raise InputError(where, repr(found), expected)


@dataclass(frozen=True, repr=False, eq=False)
class Constant(Shape):
    """Always `level`."""

    spelt: ClassVar[str] = "constant"
    level: float = 1.0

    def value(self, step: Floats, total: float) -> Floats:
        """`level`."""
        return np.full_like(step, self.level)

    def integral_to(self, step: float, total: float) -> float:
        """level x step."""
        return self.level * step


@dataclass(frozen=True, repr=False, eq=False)
class Warmup(Shape):
    """From `start` up to 1 along a line in `length` (steps if an int, a share of the run if a float), then 1; goes before a `>>`."""

    spelt: ClassVar[str] = "warmup"
    length: Length
    start: float = 0.0

    def __post_init__(self) -> None:
        check_length("warmup", self.length)

    def value(self, step: Floats, total: float) -> Floats:
        """start + (1 - start) min(step / length, 1)."""
        length = max(steps_of(self.length, total), TINY)
        return self.start + (1 - self.start) * np.minimum(step, length) / length

    def integral_to(self, step: float, total: float) -> float:
        """start x step + (1 - start) step^2 / (2 length) up to the length, and 1 for each step after it."""
        length = max(steps_of(self.length, total), TINY)
        up = min(step, length)
        return self.start * up + (1 - self.start) * up * (up / (2 * length)) + step - up


@dataclass(frozen=True, repr=False, eq=False)
class Polynomial(Shape):
    """(1 - s)^power."""

    spelt: ClassVar[str] = "polynomial"
    power: float = 1.0

    def __post_init__(self) -> None:
        _require(0 < self.power < math.inf, f"{self.spelt}: power", self.power, "a number > 0")

    def value(self, step: Floats, total: float) -> Floats:
        """(1 - s)^power."""
        return (1 - step / total) ** self.power

    def integral_to(self, step: float, total: float) -> float:
        """total (1 - (1 - s)^(power + 1)) / (power + 1)."""
        return float(total * (1 - (1 - step / total) ** (self.power + 1)) / (self.power + 1))

    def first(self, factor: float, total: float) -> float:
        """total (1 - factor^(1 / power))."""
        return float(total * (1 - factor ** (1 / self.power))) if 0 <= factor <= 1 else math.inf


@dataclass(frozen=True, repr=False, eq=False)
class Linear(Shape):
    """1 - s: worst-case optimal for the last iterate of subgradient descent (Defazio et al. 2023, arXiv 2310.07831)."""

    spelt: ClassVar[str] = "linear"

    def value(self, step: Floats, total: float) -> Floats:
        """1 - s."""
        return 1 - step / total

    def integral_to(self, step: float, total: float) -> float:
        """step - step^2 / (2 total)."""
        return step - step * step / (2 * total)

    def first(self, factor: float, total: float) -> float:
        """total (1 - factor)."""
        return total * (1 - factor) if 0 <= factor <= 1 else math.inf


@dataclass(frozen=True, repr=False, eq=False)
class Rex(Shape):
    """REX: (1 - s) / ((1 - beta) + beta (1 - s)), with beta = 1/2 that of Chen et al. 2021 (arXiv 2107.04197).

    Every member is its own inverse: p(p(s)) = s. Larger `beta` stays high for longer; 0.9 is what many copies on the web have.
    """

    spelt: ClassVar[str] = "rex"
    beta: float = 0.5

    def __post_init__(self) -> None:
        _require(0 <= self.beta < 1, "rex: beta", self.beta, "a number in [0, 1)")

    def value(self, step: Floats, total: float) -> Floats:
        """(1 - s) / (1 - beta s)."""
        s = step / total
        return (1 - s) / (1 - self.beta * s)

    def integral_to(self, step: float, total: float) -> float:
        """total (s / beta + (1 - beta) / beta^2 ln(1 - beta s)); over the whole run with beta 1/2: (2 - 2 ln 2) total."""
        s, b = step / total, self.beta
        if b < 1e-4:
            return total * (s - s**2 / 2 + b * (s**2 / 2 - s**3 / 3) + b * b * (s**3 / 3 - s**4 / 4))
        return total * (s / b + (1 - b) / (b * b) * math.log1p(-b * s))

    def first(self, factor: float, total: float) -> float:
        """The profile is an involution: total x its value at the share `factor`."""
        return total * (1 - factor) / (1 - self.beta * factor) if 0 <= factor <= 1 else math.inf


@dataclass(frozen=True, repr=False, eq=False)
class Cosine(Shape):
    """(1 + cos(pi s)) / 2, begun again `restarts` times, each cycle `growth` times as long as the one before (Loshchilov and Hutter 2017)."""

    spelt: ClassVar[str] = "cosine"
    restarts: int = 0
    growth: float = 1.0

    def __post_init__(self) -> None:
        _require(type(self.restarts) is int and self.restarts >= 0, "cosine: restarts", self.restarts, "a count >= 0")
        _require(0 < self.growth < math.inf, "cosine: growth", self.growth, "a number > 0")
        most = self.restarts * abs(math.log(self.growth))
        _require(
            most < 600,
            "cosine",
            (self.restarts, self.growth),
            "restarts whose longest cycle is no more than e^600 of the shortest",
        )

    def _cycles(self, total: float) -> Floats:
        lengths = self.growth ** np.arange(self.restarts + 1)
        return np.concatenate([[0.0], np.cumsum(lengths / lengths.sum()) * total])

    def value(self, step: Floats, total: float) -> Floats:
        """By the cycle that the step falls into."""
        begins = self._cycles(total)
        k = np.clip(np.searchsorted(begins, step, side="right") - 1, 0, self.restarts)
        return 0.5 + 0.5 * np.cos(np.pi * np.minimum((step - begins[k]) / (begins[k + 1] - begins[k]), 1.0))

    def integral_to(self, step: float, total: float) -> float:
        """Half of each whole cycle, and step / 2 + length / (2 pi) sin(pi step / length) of the last."""
        begins = self._cycles(total)
        k = int(np.clip(np.searchsorted(begins, step, side="right") - 1, 0, self.restarts))
        length, into = begins[k + 1] - begins[k], step - begins[k]
        return float(begins[k] / 2 + into / 2 + length / (2 * math.pi) * math.sin(math.pi * into / length))

    def first(self, factor: float, total: float) -> float:
        """The first cycle x arccos(2 factor - 1) / pi; a cycle that is followed by another one never comes down to 0."""
        if not 0 <= factor <= 1:
            return math.inf
        cycle = float(self._cycles(total)[1])
        at = cycle * math.acos(2 * factor - 1) / math.pi
        return at if at < cycle else total


@dataclass(frozen=True, repr=False, eq=False)
class InverseSqrt(Shape):
    """1 / sqrt(1 + step / scale): falls with the steps, whatever the budget; `scale` in steps (int) or as a share (float)."""

    spelt: ClassVar[str] = "inverse_sqrt"
    scale: Length = 1

    def __post_init__(self) -> None:
        _require(check_length("inverse_sqrt", self.scale) > 0, "inverse_sqrt: scale", self.scale, "more than 0")

    def _scale(self, total: float) -> float:
        return steps_of(self.scale, total)

    def value(self, step: Floats, total: float) -> Floats:
        """(1 + step / scale)^-1/2."""
        return 1 / np.sqrt(1 + step / self._scale(total))

    def integral_to(self, step: float, total: float) -> float:
        """2 scale (sqrt(1 + step / scale) - 1)."""
        scale = self._scale(total)
        return 2 * scale * (math.sqrt(1 + step / scale) - 1)

    def first(self, factor: float, total: float) -> float:
        """scale (factor^-2 - 1)."""
        return self._scale(total) * (1 / factor / factor - 1) if factor > 0 else math.inf


@dataclass(frozen=True, repr=False, eq=False)
class OneMinusSqrt(Shape):
    """1 - sqrt(s): the cool-down of Haegele et al. 2024 (arXiv 2405.18392)."""

    spelt: ClassVar[str] = "one_minus_sqrt"

    def value(self, step: Floats, total: float) -> Floats:
        """1 - sqrt(s)."""
        return 1 - np.sqrt(step / total)

    def integral_to(self, step: float, total: float) -> float:
        """step - (2/3) total s^(3/2)."""
        return step - 2 / 3 * total * (step / total) ** 1.5

    def first(self, factor: float, total: float) -> float:
        """total (1 - factor)^2."""
        return total * (1 - factor) ** 2 if 0 <= factor <= 1 else math.inf


@dataclass(frozen=True, repr=False, eq=False)
class Steps(Shape):
    """Multiplied by `factor` at each of `milestones` (shares of the run); the usual 30-60-90 by default."""

    spelt: ClassVar[str] = "steps"
    milestones: tuple[float, ...] = (0.3, 0.6, 0.9)
    factor: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        ascending = list(self.milestones) == sorted(self.milestones) and all(0 <= x <= 1 for x in self.milestones)
        _require(ascending, "steps: milestones", list(self.milestones), "ascending shares of the run")
        _require(self.factor > 0, "steps: factor", self.factor, "a number > 0")

    def value(self, step: Floats, total: float) -> Floats:
        """factor^(milestones passed)."""
        passed = np.searchsorted(whole(np.array(self.milestones) * total), step, side="right")
        return np.asarray(self.factor ** passed.astype(np.float64))

    def integral_to(self, step: float, total: float) -> float:
        """A sum of rectangles."""
        marks = np.minimum(whole(np.array([0.0, *self.milestones, 1.0]) * total), step)
        return float((np.diff(marks) * self.factor ** np.arange(len(self.milestones) + 1)).sum())


@dataclass(frozen=True, repr=False, eq=False)
class Exponential(Shape):
    """end^s: from 1 down to `end`."""

    spelt: ClassVar[str] = "exponential"
    end: float = 0.01

    def __post_init__(self) -> None:
        _require(0 < self.end < 1, "exponential: end", self.end, "a number in (0, 1)")

    def value(self, step: Floats, total: float) -> Floats:
        """end^s."""
        return self.end ** (step / total)

    def integral_to(self, step: float, total: float) -> float:
        """total (end^s - 1) / ln(end)."""
        return total * math.expm1(step / total * math.log(self.end)) / math.log(self.end)

    def first(self, factor: float, total: float) -> float:
        """total ln(factor) / ln(end)."""
        return total * math.log(factor) / math.log(self.end) if factor > 0 else math.inf


@dataclass(frozen=True, repr=False, eq=False)
class OneCycle(Shape):
    """Up from `start` to 1 at the share `peak`, down to `end`, both along cosines (Smith and Topin 2018; Torch's OneCycleLR)."""

    spelt: ClassVar[str] = "one_cycle"
    peak: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    def __post_init__(self) -> None:
        _require(0 < self.peak < 1, "one_cycle: peak", self.peak, "a share in (0, 1)")

    def value(self, step: Floats, total: float) -> Floats:
        """Two half cosines."""
        top = self.peak * total
        up = 1 + (self.start - 1) * (0.5 + 0.5 * np.cos(np.pi * np.minimum(step / top, 1)))
        down = self.end + (1 - self.end) * (0.5 + 0.5 * np.cos(np.pi * np.maximum(step - top, 0) / (total - top)))
        return np.where(step < top, up, down)


@dataclass(frozen=True, repr=False, eq=False)
class KDecay(Shape):
    """(1 - s^k)^power (Zhang and Li 2020, arXiv 2004.05909, polynomial form): large k stays high for longer."""

    spelt: ClassVar[str] = "k_decay"
    k: float = 2.0
    power: float = 1.0

    def __post_init__(self) -> None:
        _require(self.k > 0, "k_decay: k", self.k, "a number > 0")
        _require(self.power > 0, "k_decay: power", self.power, "a number > 0")

    def value(self, step: Floats, total: float) -> Floats:
        """(1 - s^k)^power."""
        return (1 - (step / total) ** self.k) ** self.power

    def first(self, factor: float, total: float) -> float:
        """total (1 - factor^(1 / power))^(1 / k)."""
        return float(total * (1 - factor ** (1 / self.power)) ** (1 / self.k)) if 0 <= factor <= 1 else math.inf


@dataclass(frozen=True, repr=False, eq=False)
class Hyperbolic(Shape):
    """h(s) / h(0), h(s) = sqrt((1 - s) / u (2 - (1 + s) / u)), u = `reach` >= 1 runs (Kim 2024, arXiv 2407.15200, in its relative form)."""

    spelt: ClassVar[str] = "hyperbolic"
    reach: float = 1.0

    def __post_init__(self) -> None:
        _require(1 <= self.reach < math.inf, "hyperbolic: reach", self.reach, "a number >= 1")

    def value(self, step: Floats, total: float) -> Floats:
        """h(s) / h(0)."""
        s = step / total
        return np.sqrt((1 - s) * (2 - (1 + s) / self.reach) / (2 - 1 / self.reach))


@dataclass(frozen=True, repr=False, eq=False)
class Table(Shape):
    """`values` at equal distances over the run, straight lines between them; at least one of them."""

    spelt: ClassVar[str] = "table"
    values: tuple[float, ...] = field(default=(1.0,))

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))
        finite = bool(self.values) and bool(np.isfinite(self.values).all())
        _require(finite, "table", list(self.values)[:3], "finite factors, at least one")

    def value(self, step: Floats, total: float) -> Floats:
        """By interpolation."""
        return np.interp(step / total, np.linspace(0, 1, max(len(self.values), 2)), self._ends())

    def integral_to(self, step: float, total: float) -> float:
        """Trapezoids."""
        values = self._ends()
        place = step / total * (len(values) - 1)
        k = min(int(place), len(values) - 2)
        area = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2)])
        here, into = values[k], place - k
        return float((area[k] + into * (here + (here + into * (values[k + 1] - here))) / 2) * total / (len(values) - 1))

    def _ends(self) -> Floats:
        return np.array(self.values if len(self.values) > 1 else self.values * 2)


def constant(level: float = 1.0) -> Schedule:
    """See `Constant`."""
    return Constant(check_number("constant", level))


def warmup(length: Length, start: float = 0.0) -> Schedule:
    """See `Warmup`."""
    return Warmup(check_length("warmup", length), check_number("warmup: start", start))


def polynomial(power: float = 1.0) -> Schedule:
    """See `Polynomial`."""
    return Polynomial(check_number("polynomial: power", power))


def linear() -> Schedule:
    """See `Linear`."""
    return Linear()


def rex(beta: float = 0.5) -> Schedule:
    """See `Rex`."""
    return Rex(check_number("rex: beta", beta))


def cosine(restarts: int = 0, growth: float = 1.0) -> Schedule:
    """See `Cosine`."""
    return Cosine(restarts, check_number("cosine: growth", growth))


def inverse_sqrt(scale: Length = 1) -> Schedule:
    """See `InverseSqrt`."""
    return InverseSqrt(check_length("inverse_sqrt: scale", scale))


def one_minus_sqrt() -> Schedule:
    """See `OneMinusSqrt`."""
    return OneMinusSqrt()


def steps(milestones: tuple[float, ...] = (0.3, 0.6, 0.9), factor: float = 0.1) -> Schedule:
    """See `Steps`."""
    return Steps(tuple(check_number("steps: milestones", m) for m in milestones), check_number("steps: factor", factor))


def exponential(end: float = 0.01) -> Schedule:
    """See `Exponential`."""
    return Exponential(check_number("exponential: end", end))


def one_cycle(peak: float = 0.3, start: float = 0.04, end: float = 4e-6) -> Schedule:
    """See `OneCycle`."""
    return OneCycle(*(check_number("one_cycle", number) for number in (peak, start, end)))


def k_decay(k: float = 2.0, power: float = 1.0) -> Schedule:
    """See `KDecay`."""
    return KDecay(check_number("k_decay: k", k), check_number("k_decay: power", power))


def hyperbolic(reach: float = 1.0) -> Schedule:
    """See `Hyperbolic`."""
    return Hyperbolic(check_number("hyperbolic: reach", reach))


def table(values: tuple[float, ...] | list[float] | Floats) -> Schedule:
    """See `Table`."""
    return Table(tuple(check_number("table", v) for v in values))


def warmup_stable_decay(up: Length = 0.05, down: Length = 0.2) -> Schedule:
    """Warm-up, a plateau, and a linear cool-down (Hu et al. 2024: WSD)."""
    return warmup(up) >> constant() >> linear().lasting(down)


FAMILY = {
    made.__name__: made
    for made in (
        constant, warmup, polynomial, linear, rex, cosine, inverse_sqrt, one_minus_sqrt, steps, exponential, one_cycle,
        k_decay, hyperbolic, table, warmup_stable_decay,
    )
}  # fmt: skip
"""Every member by the name it is typed with."""
