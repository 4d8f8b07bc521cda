"""The algebra of schedules: what the operators and methods of `Schedule` make. Each writes itself as it was typed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rota.core.errors import InputError
from rota.training.schedule import (
    TINY,
    Floats,
    Length,
    Schedule,
    check_length,
    check_total,
    steps_of,
    whole,
)  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class Sequence(Schedule):
    """Parts one after the other. Every part but one says how long it lasts; that one takes what is left."""

    parts: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        lengths = [getattr(part, "length", None) for part in self.parts]
        if lengths.count(None) > 1:
            loose = [repr(part) for part, length in zip(self.parts, lengths, strict=True) if length is None]
            raise InputError(
                "sequence", f"{' and '.join(loose)} without a length", "one such part; give others .lasting(...)"
            )
        shares = sum(length for length in lengths if isinstance(length, float))
        if shares > 1 + 1e-12:
            raise InputError("sequence", f"parts that last {shares:g} of the run", "at most 1")

    def bounds(self, total: float) -> Floats:
        """(parts + 1,) the steps at which the parts begin, and the end of the last.

        Raises:
            InputError: the parts are longer than the run.
        """
        known = [getattr(part, "length", None) for part in self.parts]
        steps = np.array([np.nan if length is None else steps_of(length, total) for length in known])
        left = total - float(np.nansum(steps))
        if left < -1e-9 * total:
            raise InputError(
                "sequence", f"parts of {total - left:.15g} steps", f"at most {total:.15g}, the length of the run"
            )
        return np.concatenate([[0.0], whole(np.cumsum(np.where(np.isnan(steps), max(left, 0.0), steps)))])

    def value(self, step: Floats, total: float) -> Floats:
        """Each step by the part it falls into; the last value stays if the parts are shorter than the run."""
        bounds = self.bounds(total)
        lengths = np.diff(bounds)
        last = max(np.flatnonzero(lengths), default=len(self.parts) - 1)
        which = np.clip(np.searchsorted(bounds, step, side="right") - 1, 0, last)
        found = np.empty_like(step)
        for k, part in enumerate(self.parts):
            here = which == k
            if here.any() or lengths[k] > 0:  # also for no step: a part that does not fit is found at the first one
                length = max(lengths[k], TINY)
                found[here] = part.value(np.minimum(step[here] - bounds[k], length), _span(part, length, total))
        return found

    def integral_to(self, step: float, total: float) -> float:
        """The parts' integrals, summed."""
        bounds, area = self.bounds(total), 0.0
        for k, part in enumerate(self.parts):
            length = bounds[k + 1] - bounds[k]
            if length > 0 and step > bounds[k]:
                area += part.integral_to(min(step - bounds[k], length), _span(part, length, total))
        beyond = step - bounds[-1]
        return area + (beyond * float(self.value(np.array(bounds[-1]), total)) if beyond > 0 else 0.0)

    def __repr__(self) -> str:
        return " >> ".join(_bracketed(part) for part in self.parts)


@dataclass(frozen=True, repr=False, eq=False)
class Lasting(Schedule):
    """A schedule that lasts `length` of the run, or of the sequence that it is a part of; then its last value stays."""

    inner: Schedule
    length: Length

    def value(self, step: Floats, total: float) -> Floats:
        """Of the inner schedule, within the length."""
        length = max(steps_of(self.length, total), TINY)
        return self.inner.value(np.minimum(step, length), length)

    def integral_to(self, step: float, total: float) -> float:
        """Of the inner schedule, and of its last value."""
        length = max(steps_of(self.length, total), TINY)
        area = self.inner.integral_to(min(step, length), length)
        return area + (max(step - length, 0.0) * float(self.inner.value(np.array(length), length)))

    def first(self, factor: float, total: float) -> float:
        """Of the inner schedule, within the length."""
        length = max(steps_of(self.length, total), TINY)
        at = self.inner.first(factor, length)
        return at if at <= length else np.inf

    def __repr__(self) -> str:
        return f"{_bracketed(self.inner)}.lasting({self.length!r})"


class Around(Schedule):
    """A schedule made of one other, `inner`; it lasts as long as that."""

    inner: Schedule

    @property
    def length(self) -> Length | None:
        """Of the inner schedule: None if it has no length of its own."""
        return getattr(self.inner, "length", None)


@dataclass(frozen=True, repr=False, eq=False)
class Product(Schedule):
    """The product of two schedules over the same run."""

    left: Schedule
    right: Schedule

    def value(self, step: Floats, total: float) -> Floats:
        """Both values, multiplied."""
        return self.left.value(step, total) * self.right.value(step, total)

    def __repr__(self) -> str:
        return f"{_bracketed(self.left)} * {_bracketed(self.right)}"


@dataclass(frozen=True, repr=False, eq=False)
class Scaled(Around):
    """A schedule times a number."""

    inner: Schedule
    by: float

    def value(self, step: Floats, total: float) -> Floats:
        """The inner value, scaled."""
        return self.inner.value(step, total) * self.by

    def integral_to(self, step: float, total: float) -> float:
        """The inner integral, scaled."""
        return self.inner.integral_to(step, total) * self.by

    def first(self, factor: float, total: float) -> float:
        """Where the inner schedule has the factor over the number."""
        return self.inner.first(factor / self.by, total) if self.by > 0 else super().first(factor, total)

    def __repr__(self) -> str:
        return f"{self.by!r} * {_bracketed(self.inner)}"


@dataclass(frozen=True, repr=False, eq=False)
class Mapped(Around):
    """Factors 0..1 mapped to `low`..`high`."""

    inner: Schedule
    low: float
    high: float = 1.0

    def value(self, step: Floats, total: float) -> Floats:
        """low + (high - low) x the inner value."""
        return self.low + (self.high - self.low) * self.inner.value(step, total)

    def integral_to(self, step: float, total: float) -> float:
        """The same map of the integral."""
        return self.low * step + (self.high - self.low) * self.inner.integral_to(step, total)

    def first(self, factor: float, total: float) -> float:
        """The map backward."""
        if self.high <= self.low:
            return super().first(factor, total)
        return self.inner.first((factor - self.low) / (self.high - self.low), total)

    def __repr__(self) -> str:
        most = "" if self.high == 1 else f", {self.high!r}"
        return f"{_bracketed(self.inner)}.between({self.low!r}{most})"


@dataclass(frozen=True, repr=False, eq=False)
class Clipped(Around):
    """A schedule held within bounds; `most` None: no upper one."""

    inner: Schedule
    least: float
    most: float | None

    def value(self, step: Floats, total: float) -> Floats:
        """The inner value, cut off."""
        return np.clip(self.inner.value(step, total), self.least, self.most)

    def __repr__(self) -> str:
        call = f"floor({self.least!r})" if self.most is None else f"clip({self.least!r}, {self.most!r})"
        return f"{_bracketed(self.inner)}.{call}"


@dataclass(frozen=True, repr=False, eq=False)
class Sampled(Around):
    """A schedule whose value is refreshed now and then, and held in between."""

    inner: Schedule
    every: Length | tuple[float, ...]

    def __post_init__(self) -> None:
        if isinstance(self.every, tuple):
            good = (
                all(0 < x < 1 for x in self.every) and list(self.every) == sorted(set(self.every)) and bool(self.every)
            )
            if not good:
                raise InputError("sample", repr(list(self.every)), "ascending shares of the run, each in (0, 1)")
        elif check_length("sample", self.every) == 0:
            raise InputError("sample", repr(self.every), "a step count >= 1, a share in (0, 1], or a list of shares")

    def value(self, step: Floats, total: float) -> Floats:
        """The inner value at the last refresh by `step`."""
        if isinstance(self.every, tuple):
            marks = whole(np.array([0.0, *self.every]) * total)
            held = marks[np.searchsorted(marks, step, side="right") - 1]
        else:
            length = steps_of(self.every, total)
            held = whole(np.floor(step / length + 1e-9) * length)
        return self.inner.value(np.clip(held, 0.0, total), total)

    def __repr__(self) -> str:
        every = list(self.every) if isinstance(self.every, tuple) else self.every
        return f"{_bracketed(self.inner)}.sample({every!r})"


@dataclass(frozen=True, repr=False, eq=False)
class Stretched(Schedule):
    """A schedule planned over `planned` steps, of which those after `at` are spread over what the run has left."""

    inner: Schedule
    at: int
    planned: int

    def __post_init__(self) -> None:
        check_total(self.planned)
        if isinstance(self.at, bool) or not isinstance(self.at, int | np.integer) or not 0 <= self.at < self.planned:
            raise InputError(
                "stretch", f"at step {self.at}", f"a whole step >= 0, before the planned end {self.planned}"
            )

    def value(self, step: Floats, total: float) -> Floats:
        """Up to `at` as planned; then the rest of the plan at another pace."""
        return self.inner.value(np.minimum(self._moment(step, total), self.planned), float(self.planned))

    def integral_to(self, step: float, total: float) -> float:
        """Two pieces: as planned, then at the other pace."""
        planned = float(self.planned)
        before = self.inner.integral_to(min(step, self.at), planned)
        if step <= self.at:
            return before
        pace = (planned - self.at) / (self._checked(total) - self.at)
        moment = min(self.at + (step - self.at) * pace, planned)
        return before + (self.inner.integral_to(moment, planned) - before) / pace

    def first(self, factor: float, total: float) -> float:
        """The planned step, at the pace of its piece."""
        moment = self.inner.first(factor, float(self.planned))
        pace = (self.planned - self.at) / (self._checked(total) - self.at)
        return moment if moment <= self.at else self.at + (moment - self.at) / pace

    def _moment(self, step: Floats, total: float) -> Floats:
        pace = (self.planned - self.at) / (self._checked(total) - self.at)
        return np.where(step <= self.at, step, self.at + (step - self.at) * pace)

    def _checked(self, total: float) -> float:
        if total <= self.at:
            raise InputError("total", f"{total:.15g}", f"more than {self.at}, the step at which the budget changed")
        return total

    def __repr__(self) -> str:
        return f"{_bracketed(self.inner)}.stretch(at={self.at}, total={self.planned})"


def parts_of(schedule: Schedule) -> tuple[Schedule, ...]:
    """The parts of a sequence; of anything else, itself."""
    return schedule.parts if isinstance(schedule, Sequence) else (schedule,)


def _span(part: Schedule, length: float, total: float) -> float:
    """What a part takes for its run: one that knows its own length measures it in the whole run."""
    return total if getattr(part, "length", None) is not None else length


def _bracketed(schedule: Schedule) -> str:
    """As an operand: sums of parts and products in brackets."""
    plain = not isinstance(schedule, Sequence | Product | Scaled)
    return repr(schedule) if plain else f"({schedule!r})"
