"""When each request got its tokens, worked out from a run's rows and inter-token gaps alone.

The end of a gap is a step boundary of its instance. At a boundary that ends a decode step every request with a decode row
across it gets one token; a request whose prefill is repeated after a preemption gets one at the end of that prefill. So
the gaps that end at a boundary must be as many as the requests that get a token there, and every count follows from the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rota.serving.model import BLOCK, Floats, Ints
from rota.serving.run import Run

QUEUE, PREFILL, DECODE, PREEMPTED, MIGRATE, SWAPPED = range(6)
"""Kinds of rows, as in `Run.timeline`."""

TOLERANCE = 1e-7
"""Seconds that are forgiven for rounding."""

KIND_NAMES = ("queue", "prefill", "decode", "preempted", "migrate", "swapped")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Boundaries:
    """Step boundaries at which somebody got a token that was not its first, by instance and time.

    Attributes:
        instance, time: (b,) where and when.
        tokens: (b,) gaps that end there.
        starts: (instances + 1,) those of instance i are `starts[i]:starts[i + 1]`.
    """

    instance: Ints
    time: Floats
    tokens: Ints
    starts: Ints

    def after(self, instance: Ints, time: Floats) -> Ints:
        """Position of the first boundary later than each (instance, time)."""
        place = np.zeros(len(time), np.int64)
        for i in np.unique(instance).tolist():
            mine, first = instance == i, self.starts[i]
            known = self.time[first : self.starts[i + 1]]
            place[mine] = first + np.searchsorted(known, time[mine] + TOLERANCE, side="right")
        return place


@dataclass(frozen=True)
class History:
    """Every row of a run, by request and time, with the tokens behind it.

    Attributes:
        rows: (r,) rows of `Run.rows`, sorted by request and start.
        boundaries: those of the whole run.
        begin, stop: (r,) a decode row gets a token at the decode steps among boundaries `begin:stop`.
        decoded: (b + 1,) boundaries that end a decode step, counted from the first on.
        kv: (r,) tokens of KV when a prefill or decode row begins (of a prefill: what it will have computed).
        kv_end: (r,) tokens of KV when it ends.
        sure: (r,) these counts are exact; else one or more tokens too low (two prefills cut at one boundary).
        broken: sentences about boundaries and tokens that do not agree.
    """

    rows: np.ndarray
    boundaries: Boundaries
    begin: Ints
    stop: Ints
    decoded: Ints
    kv: Ints
    kv_end: Ints
    sure: Mask
    broken: list[str]


def named(row: np.void) -> str:
    """A row in words."""
    where = f"on instance {row['instance']}"
    return f"r{row['request']}: {KIND_NAMES[row['kind']]} [{row['start']:g}, {row['end']:g}) {where}"


def history(run: Run) -> History:
    """The tokens of every request over time."""
    rows = run.rows[np.lexsort((run.rows["end"], run.rows["start"], run.rows["request"]))]
    steps = _boundaries(run)
    begin, stop = steps.after(rows["instance"], rows["start"]), steps.after(rows["instance"], rows["end"])
    decoding = rows["kind"] == DECODE
    across = np.cumsum(_count(begin[decoding], len(steps.time)) - _count(stop[decoding], len(steps.time)))[:-1]
    ends = _prefill_ends(run, rows, steps, stop)
    chunked = np.array([kind.prefill == "chunked" for kind in run.fleet.kinds])[steps.instance]
    decodes = chunked | (steps.tokens > ends.certain)
    decoded = np.concatenate([[0], np.cumsum(decodes)])
    extra = steps.tokens - np.where(decodes, across, 0) - ends.certain
    completed, unknown = _cut_prefills(ends, extra)
    given = np.where(decoding, decoded[stop] - decoded[begin], 0) + completed
    first = np.concatenate([[True], np.diff(rows["request"]) > 0])[: len(rows)]
    before = _running_total(given, first)
    kv = run.workload.prompt[rows["request"]] + before - decoding
    exact = _running_total(unknown, first) == 0
    kv_end = run.workload.prompt[rows["request"]] + before + given - 1
    broken = (
        _uneven(steps, extra, ends)
        + _silent(rows, ends)
        + _miscounted(run, rows, given, unknown)
        + _blocks_told(rows, kv, kv_end, exact & ~unknown)
    )
    return History(rows, steps, begin, stop, decoded, kv, kv_end, exact & ~unknown, broken)


@dataclass(frozen=True)
class _PrefillEnds:
    """What the prefill rows' ends give. `place`: (r,) boundary at the end of a row, -1 for none; `first`, `again`, `open`: (r,)
    rows whose end gives the first token, a later one, or perhaps one; `certain`, `possible`: (b,) how many later ones a boundary has."""

    place: Ints
    first: Mask
    again: Mask
    open: Mask
    certain: Ints
    possible: Ints


def _prefill_ends(run: Run, rows: np.ndarray, steps: Boundaries, stop: Ints) -> _PrefillEnds:
    place = stop - 1
    known = place >= steps.starts[rows["instance"]]
    near = np.abs(steps.time[np.where(known, place, 0)] - rows["end"]) <= TOLERANCE if len(steps.time) else known
    place = np.where(known & near, place, -1)
    late = rows["end"] - run.requests["first_token"][rows["request"]]
    prefill = rows["kind"] == PREFILL
    then = np.append(rows["kind"][1:], -1)
    same = np.append(rows["request"][1:] == rows["request"][:-1], False)
    chunked = np.array([kind.prefill == "chunked" for kind in run.fleet.kinds])[rows["instance"]]
    cut = chunked & same & (then == PREEMPTED)
    later = prefill & (late > TOLERANCE)
    first = prefill & (np.abs(late) <= TOLERANCE)
    again, maybe = later & ~cut, later & cut & (place >= 0)
    b = len(steps.time)
    return _PrefillEnds(
        place, first, again, maybe, _count(place[again & (place >= 0)], b)[:b], _count(place[maybe], b)[:b]
    )


def _cut_prefills(ends: _PrefillEnds, extra: Ints) -> tuple[Ints, Mask]:
    """(r,) tokens given at the end of each prefill row, and where that cannot be told."""
    completed, unknown = (ends.first | ends.again).astype(np.int64), np.zeros(len(ends.place), bool)
    at = np.flatnonzero(ends.open)
    found, possible = extra[ends.place[at]], ends.possible[ends.place[at]]
    completed[at] = found >= possible
    unknown[at] = (found > 0) & (found < possible)
    return completed, unknown


def _boundaries(run: Run) -> Boundaries:
    gaps = run.gaps
    which = np.repeat(np.arange(len(gaps)), gaps["count"])
    step = np.arange(len(which)) - np.repeat(np.cumsum(gaps["count"]) - gaps["count"], gaps["count"]) + 1
    end = gaps["start"][which] + step * gaps["first"][which] + gaps["slope"][which] * (step * (step - 1) / 2)
    instance = gaps["instance"][which]
    order = np.lexsort((end, instance))
    end, instance, weight = end[order], instance[order], gaps["weight"][which][order]
    new = np.ones(len(end), bool)
    new[1:] = (np.diff(instance) > 0) | (np.diff(end) > TOLERANCE)
    heads = np.flatnonzero(new)
    tokens = np.add.reduceat(weight, heads) if len(heads) else np.zeros(0, np.int64)
    starts = np.searchsorted(instance[heads], np.arange(len(run.fleet) + 1))
    return Boundaries(instance[heads], end[heads], tokens, starts)


def _uneven(steps: Boundaries, extra: Ints, ends: _PrefillEnds) -> list[str]:
    """Boundaries where more or fewer requests got a token than were there to get one."""
    wrong = np.flatnonzero((extra < 0) | (extra > ends.possible))
    place = zip(steps.instance[wrong], steps.time[wrong], steps.tokens[wrong], extra[wrong], strict=True)
    return [f"instance {i}: {got} requests get a token at {time:g}, not {got - more}" for i, time, got, more in place]


def _silent(rows: np.ndarray, ends: _PrefillEnds) -> list[str]:
    return [f"{named(row)} ends, and no token is recorded then" for row in rows[ends.again & (ends.place < 0)]]


def _miscounted(run: Run, rows: np.ndarray, given: Ints, unknown: Mask) -> list[str]:
    """Requests whose rows hold more or fewer tokens than their output."""
    n, output = len(run.workload), run.workload.output
    least = np.bincount(rows["request"], given, n).astype(np.int64)
    most = least + np.bincount(rows["request"], unknown, n).astype(np.int64)
    wrong = np.flatnonzero((output < least) | (output > most))
    return [f"r{r}: its rows hold {least[r]} tokens, not its output of {output[r]}" for r in wrong.tolist()]


def _blocks_told(rows: np.ndarray, kv: Ints, kv_end: Ints, exact: Mask) -> list[str]:
    """Rows whose column `blocks` is not what their tokens take."""
    tokens = np.where(rows["kind"] == DECODE, kv_end, np.where(rows["kind"] == PREFILL, kv, 0))
    wrong = np.flatnonzero(exact & (rows["blocks"] != -(-tokens // BLOCK)))
    return [f"{named(rows[k])} says {rows[k]['blocks']} blocks for {tokens[k]} tokens" for k in wrong.tolist()]


def _count(places: Ints, most: int) -> Ints:
    return np.bincount(places, minlength=most + 1)


def _running_total(amount: NDArray[np.generic], first: Mask) -> Ints:
    """Sum of what came before within the same request (`first` marks the first row of each)."""
    if not len(amount):
        return np.zeros(0, np.int64)
    so_far = np.cumsum(amount, dtype=np.int64) - amount.astype(np.int64)
    return so_far - np.maximum.accumulate(np.where(first, so_far, 0))
