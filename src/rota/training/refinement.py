"""Refinement: the schedule that a run's own gradient norms ask for (Defazio et al. 2023, arXiv 2310.07831).

The paper weighs step t = 1..T of a finished run by w_t = G_t^-power, G the smoothed gradient norm, and gives it the learning rate
eta_t = w_t (w_{t+1} + ... + w_T), whose last entry is 0. Here entry t is the schedule's factor *at* step t of 0..T, and the entry
of step 0 is w_1 (w_1 + ... + w_T): constant norms give 1 - t/T at every step, which is `linear()`. The highest factor is 1, so
that the base rate is the highest rate; it has to be tuned anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rota.core.errors import InputError
from rota.training.norm_file import NormRecord, checked
from rota.training.schedule import Floats, Schedule
from rota.training.shapes import polynomial, table, warmup

POINTS = 10_000
"""Longer records are resampled to this many points."""
MISSING = 0.02
"""Share of a run that may lack at either end of a record of the whole run."""


def refine(
    record: NormRecord | str | os.PathLike[str] | ArrayLike,
    power: int = 2,
    smoothing: float = 0.1,
    *,
    total: int | None = None,
    points: int | None = None,
) -> Schedule:
    """The refined schedule of a run, from its gradient norms.

    Args:
        record: of a whole run, its file, or (T,) norms in order; infinite norms (overflowed steps) are dropped.
        power: 2 for SGD, with L2 norms; 1 for Adam and its kin, with L1 norms.
        smoothing: width of the median filter, as a share of the run; the authors' 0.1.
        total: steps that the recorded run must have had; None: any.
        points: resample the norms to so many (a short record: the authors take 10,000); None: as many as there are, up to 10,000.

    Raises:
        InputError: what is no numbers and no record; norms that are NaN, zero or negative (with the step), too few of them, of a
            part of a run only or of a run of another length; another power; a smoothing outside [0, 1).
    """
    norms = _norms(record, power, total, points)
    return table(factors(smoothed(norms, smoothing), power))


def factors(norms: ArrayLike, power: float = 2) -> Floats:
    """(T + 1,) factors at the steps 0..T for (T,) norms, unsmoothed; the highest is 1, the last 0."""
    given = np.asarray(norms, np.float64)
    checked(given, np.arange(len(given)))
    # In logarithms, as powers of extreme norms leave the range of floats; long, so that constant norms stay exact.
    weights = -power * np.log(given.astype(np.longdouble))
    sums = np.logaddexp.accumulate(weights[::-1])[::-1]  # of a step's weight and all after it
    entries = np.concatenate([weights[:1] + sums[:1], weights[:-1] + sums[1:], [-np.inf]])
    return np.exp(entries - entries.max()).astype(np.float64)


def smoothed(norms: Floats, smoothing: float = 0.1) -> Floats:
    """(T,) norms after the authors' median filter.

    Its window is int(smoothing x T) points wide, and one more if that is even; past the start it sees the first norm, past the end
    the record reflected about its last norm.

    Raises:
        InputError: a smoothing outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise InputError("smoothing", f"{smoothing:g}", "a share of the run in [0, 1)")
    half = int(smoothing * len(norms)) // 2
    if half == 0:
        return norms
    seen = np.concatenate([np.full(half, norms[0]), np.pad(norms, (0, half), "reflect")])
    windows = np.lib.stride_tricks.sliding_window_view(seen, 2 * half + 1)
    blocks = np.array_split(windows, -(-windows.size // 4_000_000))
    return np.concatenate([np.median(block, axis=1) for block in blocks])


@dataclass(frozen=True)
class WarmupPolynomial:
    """The nearest schedule that climbs along a line for the share `warmup` and then falls as (1 - s)^exponent.

    Attributes:
        warmup: share of the run.
        exponent: of the fall.
        error: root mean square distance of the factors.
    """

    warmup: float
    exponent: float
    error: float

    def schedule(self) -> Schedule:
        """It, as a schedule."""
        return warmup(self.warmup) >> polynomial(self.exponent) if self.warmup > 0 else polynomial(self.exponent)


def warmup_polynomial(refined: Schedule, points: int = 400) -> WarmupPolynomial:
    """Least squares of a warm-up and a polynomial fall to a schedule, to 0.0025 in the share and 0.025 in the exponent.

    The paper's figures draw such curves over refined schedules; its default schedules are chosen among them.
    """
    at = (np.arange(points) + 0.5) / points
    wanted = refined(at, 1.0)
    best = _nearest(at, wanted, np.arange(0, 0.91, 0.02), np.arange(0.2, 6.01, 0.2))
    climbs = np.clip(best.warmup + np.arange(-8, 9) * 0.0025, 0.0, 0.9)
    return _nearest(at, wanted, climbs, np.maximum(best.exponent + np.arange(-8, 9) * 0.025, 0.025))


def refine_online(
    record: NormRecord, planned: Schedule, total: int, power: int = 2, smoothing: float = 0.1, most: float = 1.0
) -> Schedule:
    """The rest of a run under way, refitted to the norms so far; call it at milestones. An extension of ours, not the paper's.

    The steps to come are taken to have the last smoothed norm. They get the rates that refinement gives them beside the steps
    done, in the proportion in which the sum of the refined rates of those steps is the sum of the planned ones.

    Args:
        record: norms of the steps done.
        planned: the schedule those steps had.
        total: steps of the run.
        power, smoothing: as in `refine`; the filter is as wide a share of what is done.
        most: no factor to come is higher.

    Returns:
        `planned` at the steps done, then the new rates; 0 at the end.

    Raises:
        InputError: as in `refine`; a record that ends with the run, does not begin with it, or is of another run length.
    """
    _same_length(record, total)
    done = int(record.steps[-1]) + 1 if len(record) else 0
    if not 0 < done < total:
        raise InputError("record", f"{done} steps done", f"from 1 to {total - 1} of {total}")
    if record.steps[0] > _slack(record, done):
        raise InputError("record", f"norms from step {record.steps[0]} on", "norms from the start of the run")
    filled = _resampled(_middles(record.steps, 1), record.norms(power), _middles(np.arange(done), 1))
    known = smoothed(filled, smoothing)
    whole = factors(np.concatenate([known, np.full(total - done, known[-1])]), power)
    before = planned(np.arange(done + 1.0), total)
    scale = before[:-1].sum() / whole[:done].sum()
    return table(before).lasting(done) >> table(np.clip(whole[done:] * scale, 0.0, most))


def _norms(
    record: NormRecord | str | os.PathLike[str] | ArrayLike, power: int, total: int | None, points: int | None
) -> Floats:
    """(n,) finite norms at equal distances over the whole run."""
    if isinstance(record, str | os.PathLike):
        record = NormRecord.read(record)
    elif not isinstance(record, NormRecord):
        record = _plain(record)
    _same_length(record, total)
    norms = record.norms(power)
    count = min(len(norms), POINTS) if points is None else points
    if len(norms) < 2 or count < 2:
        raise InputError("norms", f"{min(len(norms), count)} of them", "at least 2")
    _covers(record)
    return _resampled(_middles(record.steps, record.total), norms, _middles(np.arange(count), count))


def _plain(norms: ArrayLike) -> NormRecord:
    try:
        given = np.asarray(norms, np.float64)
    except (TypeError, ValueError):
        found = f"a {type(norms).__name__} without numbers"
        raise InputError("norms", found, "a record, its file, or one norm a step") from None
    if given.ndim != 1:
        raise InputError("norms", f"an array of shape {given.shape}", "one norm a step")
    return NormRecord(np.arange(len(given)), given, given, len(given))


def _same_length(record: NormRecord, total: int | None) -> None:
    if total is not None and record.total != total:
        raise InputError("record", f"norms of a run of {record.total} steps", f"those of one of {total} steps")


def _covers(record: NormRecord) -> None:
    first, last = int(record.steps[0]), int(record.steps[-1])
    slack = _slack(record, record.total)
    if first > slack or record.total - 1 - last > slack:
        expected = f"norms of all its {record.total} steps (refine_online takes those so far)"
        raise InputError("record", f"norms of the steps {first} to {last} of the run", expected)


def _slack(record: NormRecord, steps: int) -> float:
    """Steps that may lack at either end of a record of so many."""
    return max(2.0 * np.diff(record.steps).max(initial=1), MISSING * steps)


def _middles(steps: NDArray[np.int64], total: int) -> Floats:
    """Where the middles of steps lie in a run of `total` of them, as shares."""
    return np.asarray((steps + 0.5) / total, np.float64)


def _resampled(at: Floats, norms: Floats, wanted: Floats) -> Floats:
    finite = np.isfinite(norms)
    if not finite.any():
        raise InputError("norms", "nothing but infinite ones", "at least one that is finite")
    return np.asarray(np.interp(wanted, at[finite], norms[finite]))


def _nearest(at: Floats, wanted: Floats, climbs: Floats, exponents: Floats) -> WarmupPolynomial:
    errors: NDArray[np.float64] = np.array([[_distance(at, wanted, u, p) for p in exponents] for u in climbs])
    k, j = np.unravel_index(int(errors.argmin()), errors.shape)
    return WarmupPolynomial(float(climbs[k]), float(exponents[j]), float(errors[k, j]))


def _distance(at: Floats, wanted: Floats, climb: float, exponent: float) -> float:
    falling = np.clip((1 - at) / (1 - climb), 0, 1) ** exponent
    drawn = np.where(at < climb, at / climb if climb else 1.0, falling)
    return float(np.sqrt(np.mean((drawn - wanted) ** 2)))
