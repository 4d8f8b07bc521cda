"""Statistics of arrivals and lengths: burstiness, dependence, and the distance between two samples."""

from __future__ import annotations

import math

import numpy as np

from rota.serving.model import Floats, Ints, Workload

Values = Floats | Ints


def arrivals(workload: Workload) -> Floats:
    """Arrival times that are known beforehand (not those of turns that wait for an answer), seconds."""
    return workload.arrival[workload.parent < 0]


def variation(values: Values) -> float:
    """Coefficient of variation; NaN for fewer than two values."""
    if len(values) < 2 or values.mean() == 0:
        return math.nan
    return float(values.std() / values.mean())


def counts(times: Floats, window: float) -> Floats:
    """Arrivals in each whole window of `window` seconds, from time 0; a last, partial window is left out."""
    whole = int(times[-1] // window) if len(times) else 0
    return np.bincount((times // window).astype(np.int64), minlength=whole + 1)[:whole].astype(np.float64)


def fano(times: Floats, window: float) -> float:
    """Variance of the counts in windows over their mean: 1 for a Poisson process; NaN for fewer than two windows."""
    number = counts(times, window)
    return float(number.var() / number.mean()) if len(number) > 1 and number.mean() > 0 else math.nan


def autocorrelation(values: Floats, lag: int = 1) -> float:
    """Correlation of a series with itself `lag` steps later; NaN if it is too short or constant."""
    if len(values) <= lag + 1 or values[lag:].std() == 0 or values[:-lag].std() == 0:
        return math.nan
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def ks_distance(a: Values, b: Values) -> float:
    """Two-sample Kolmogorov-Smirnov distance: the largest gap between the empirical distribution functions, in [0,
    1]."""
    both = np.concatenate([a, b])
    below_a = np.searchsorted(np.sort(a), both, side="right") / len(a)
    below_b = np.searchsorted(np.sort(b), both, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


def rank_correlation(a: Values, b: Values) -> float:
    """Spearman's rank correlation, ties sharing their mean rank."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def ideal_reuse(workload: Workload) -> float:
    """Share of prefix chunks that an earlier request had already asked for, with a cache that forgets nothing; NaN
    without prefixes."""
    if not len(workload.prefix_hash):
        return math.nan
    return 1.0 - len(np.unique(workload.prefix_hash)) / len(workload.prefix_hash)


def _ranks(values: Values) -> Floats:
    order = np.sort(values)
    return (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")) / 2
