"""Schedules: pure functions of the step, with an algebra.

A schedule answers `schedule(step, total)`: the factor of the base learning rate at `step` of a run of `total` steps, 0 <= step
<= total. It keeps no state, so that any step costs the same, and a run that was stopped goes on with the very same numbers.

    plan = (warmup(0.05) >> rex()).over(10_000)
    plan(0), plan(5_000), plan.table()

`>>` puts schedules one after the other, `*` multiplies, `floor`, `clip` and `between` bound, `lasting` gives a part its length,
`sample` holds values between refreshes, `stretch` changes the budget of a run under way. `repr` can be typed back.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rota.core.errors import InputError, RotaError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Floats = NDArray[np.float64]
Length = int | float
"""Steps if an int, a share of the run if a float in [0, 1]."""

TINY = float(np.finfo(float).tiny)
"""Stands for a length of no steps where one divides by it."""


class NoClosedForm(RotaError):
    """The inverse or the integral of this schedule has no closed form."""


class Schedule(ABC):
    """A factor for every step of a run. Subclasses are frozen dataclasses that know their value at real-valued steps."""

    @abstractmethod
    def value(self, step: Floats, total: float) -> Floats:
        """Factors at `step`, within [0, `total`]; unchecked."""

    def integral_to(self, step: float, total: float) -> float:
        """Closed form of the integral of the factor from 0 to `step`; unchecked.

        Raises:
            NoClosedForm: there is none.
        """
        raise NoClosedForm(f"{self!r} has no closed integral")

    def first(self, factor: float, total: float) -> float:
        """Closed form of the first step at which a falling schedule is down to `factor`; unchecked.

        Raises:
            NoClosedForm: there is none.
        """
        raise NoClosedForm(f"{self!r} has no closed inverse")

    @overload
    def __call__(self, step: int | float, total: Length) -> float: ...
    @overload
    def __call__(self, step: Floats, total: Length) -> Floats: ...
    def __call__(self, step: ArrayLike, total: Length) -> float | Floats:
        """The factor at a step (or an array of them) of a run of `total` steps.

        Raises:
            InputError: a step outside [0, total], or a total that is not positive.
        """
        check_total(total)
        try:
            at = np.asarray(step, np.float64)
        except (TypeError, ValueError):
            raise InputError("step", repr(step), f"a number from 0 to {total:g}, the length of the run") from None
        outside = ~((at >= 0) & (at <= total))
        if outside.any():
            raise InputError(
                "step", f"{at[outside].flat[0]:.15g}", f"one from 0 to {total:.15g}, the length of the run"
            )
        found = self.value(
            np.atleast_1d(at), float(total)
        )  # NumPy's array loops round unlike its scalars: always the former
        return float(found[0]) if at.ndim == 0 else found

    def over(self, total: int) -> Plan:
        """This schedule for a run of `total` steps."""
        return Plan(self, total)

    def table(self, total: int) -> Floats:
        """(total,) the factors of every step of a run."""
        return self.over(total).table()

    def integral(self, start: float, end: float, total: Length) -> float:
        """Integral of the factor over the steps from `start` to `end`, in closed form.

        Raises:
            NoClosedForm: there is none.
            InputError: steps outside the run, or in the wrong order.
        """
        check_total(total)
        if not 0 <= start <= end <= total:
            raise InputError("integral", f"from {start:.15g} to {end:.15g}", f"ascending steps from 0 to {total:.15g}")
        return self.integral_to(end, float(total)) - self.integral_to(start, float(total))

    def inverse(self, factor: float, total: Length) -> float:
        """The first (real-valued) step at which a falling schedule is down to `factor`, in closed form.

        Raises:
            NoClosedForm: there is none.
            InputError: the schedule never has that factor.
        """
        check_total(total)
        at = self.first(float(factor), float(total))
        if not 0 <= at <= total:
            low, high = self(total, total), self(0, total)
            raise InputError("factor", f"{factor:g}", f"one that the schedule has, from {low:g} to {high:g}")
        return at

    # -- the algebra

    def __rshift__(self, other: Schedule) -> Schedule:
        """This schedule for its length, then `other`."""
        from rota.training.algebra import Sequence, parts_of

        return Sequence((*parts_of(self), *parts_of(other))) if isinstance(other, Schedule) else NotImplemented

    def __mul__(self, other: Schedule | float) -> Schedule:
        """The product with a schedule, or with a number."""
        from rota.training.algebra import Product, Scaled

        if isinstance(other, Schedule):
            return Product(self, other)
        return Scaled(self, check_number("factor", other))

    def __rmul__(self, other: float) -> Schedule:
        return self * other

    def floor(self, least: float) -> Schedule:
        """Never below `least`."""
        from rota.training.algebra import Clipped

        return Clipped(self, check_number("floor", least), None)

    def clip(self, least: float, most: float) -> Schedule:
        """Never below `least` nor above `most`."""
        from rota.training.algebra import Clipped

        if not check_number("clip", least) <= check_number("clip", most):
            raise InputError("clip", f"({least:g}, {most:g})", "bounds in ascending order")
        return Clipped(self, float(least), float(most))

    def between(self, low: float, high: float = 1.0) -> Schedule:
        """Factors 0..1 mapped to `low`..`high`, so that the shape is kept (`floor` cuts it off)."""
        from rota.training.algebra import Mapped

        return Mapped(self, check_number("between", low), check_number("between", high))

    def lasting(self, length: Length) -> Schedule:
        """This schedule for `length` of a sequence: steps if an int, a share of the whole run if a float."""
        from rota.training.algebra import Lasting

        return Lasting(self, check_length("lasting", length))

    def sample(self, every: Length | tuple[float, ...] | list[float]) -> Schedule:
        """Values held from one refresh to the next: every so many steps (int), every such share (float), or at given shares.

        REX's paper separates a schedule into a profile and a sampling rate: `rex().sample([0.5, 0.75])`.
        """
        from rota.training.algebra import Sampled

        if isinstance(every, tuple | list):
            return Sampled(self, tuple(check_number("sample", share) for share in every))
        return Sampled(self, check_length("sample", every))

    def stretch(self, at: int, total: int) -> Schedule:
        """For a run planned over `total` steps whose budget changes at step `at`: what is left is spread over what is left."""
        from rota.training.algebra import Stretched

        return Stretched(self, at, total)

    # -- text

    def to_json(self) -> str:
        """The schedule as JSON; `from_json` gives it back."""
        return json.dumps({"rota_schedule": 1, "schedule": repr(self)})

    @staticmethod
    def from_json(text: str) -> Schedule:
        """The schedule that `to_json` wrote.

        Raises:
            InputError: the text is something else.
        """
        from rota.training.spelling import schedule

        try:
            found = json.loads(text)
            spelt = found["schedule"] if found["rota_schedule"] == 1 else None
        except (ValueError, TypeError, KeyError):
            spelt = None
        if not isinstance(spelt, str):
            raise InputError("schedule", repr(text[:60]), "JSON that Schedule.to_json wrote")
        return schedule(spelt)

    def plot(self, total: int = 1000) -> Figure:
        """A Plotly figure of the factor over the run."""
        from rota.training.pictures import figure

        return figure({repr(self): self}, total)

    def __str__(self) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


@dataclass(frozen=True)
class Plan:
    """A schedule bound to a run of `total` steps: `plan(step)` is the factor. Iterating gives the factor of every step."""

    schedule: Schedule
    total: int

    def __post_init__(self) -> None:
        check_total(self.total)
        if self.total != int(self.total):
            raise InputError("total", repr(self.total), "a whole number of steps > 0")
        object.__setattr__(self, "total", int(self.total))
        self.schedule(0, self.total)

    def __call__(self, step: int | float) -> float:
        """The factor at `step`; see `Schedule.__call__`."""
        return self.schedule(step, self.total)

    def table(self) -> Floats:
        """(total,) factors of the steps 0 .. total - 1."""
        return self.schedule(np.arange(self.total, dtype=np.float64), self.total)

    def stretched(self, at: int, total: int) -> Plan:
        """The plan of a run whose budget becomes `total` at step `at`: nothing changes before, what is left is spread."""
        return Plan(self.schedule.stretch(at, self.total), total)

    def __iter__(self) -> Iterator[float]:
        return iter(self.table().tolist())

    def __len__(self) -> int:
        return self.total


class Shape(Schedule):
    """A member of the family, written as a call: its name, and the arguments that are not the usual ones."""

    spelt: ClassVar[str]

    def __repr__(self) -> str:
        words = []
        for place, field in enumerate(fields(self)):  # type: ignore[arg-type]
            word = repr(getattr(self, field.name))
            if word != repr(field.default):
                words.append(f"{field.name}={word}" if place else word)
        return f"{self.spelt}({', '.join(words)})"


def check_total(total: object) -> None:
    """Raise InputError unless `total` is a positive, finite number of steps."""
    good = isinstance(total, int | float | np.integer | np.floating) and not isinstance(total, bool)
    if not good or not 0 < float(total) < np.inf:  # type: ignore[arg-type]
        raise InputError("total", repr(total), "a number of steps > 0")


def check_length(where: str, length: Length) -> Length:
    """`length`, as Python's own number, if it is a step count >= 0 or a share in [0, 1].

    Raises:
        InputError: it is neither.
    """
    length = length.item() if isinstance(length, np.generic) else length
    if isinstance(length, bool) or not isinstance(length, int | float):
        raise InputError(where, repr(length), "steps (an int) or a share of the run (a float)")
    if not (length >= 0 if isinstance(length, int) else 0 <= length <= 1):
        raise InputError(where, repr(length), "a step count >= 0, or a share from 0.0 to 1.0")
    return length


def steps_of(length: Length, total: float) -> float:
    """Steps of a length in a run of `total` steps."""
    return float(whole(length * total)) if isinstance(length, float) else float(length)


def whole(step: Floats | float) -> Floats:
    """Steps that miss a whole number by no more than rounding (0.1 x 30 = 3.0000000000000004) are that number."""
    near = np.round(step)
    return np.where(np.abs(step - near) <= 1e-12 * np.maximum(near, 1.0), near, step)


def check_number(where: str, value: Any) -> float:
    """`value` as a float.

    Raises:
        InputError: it is no finite number.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not np.isfinite(value):
        raise InputError(where, repr(value), "a finite number")
    return float(value)
