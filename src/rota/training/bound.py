"""What theory promises for the last iterate of subgradient descent, as functions that can be tested.

Step t = 1..T of x_{t+1} = x_t - lambda_t g_t has the norm G_t = |g_t|; `distance` is D = |x_1 - x*|. Bound and optimum are those of
Defazio et al. 2023 (arXiv 2310.07831); the hard instance is that of Harvey, Liaw, Plan and Randhawa 2019 (arXiv 1812.05217).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from rota.core.errors import InputError, optional
from rota.training.norm_file import checked
from rota.training.schedule import Floats


def bound(sizes: ArrayLike, norms: ArrayLike, distance: float = 1.0) -> float:
    """What f(x_T) - f* is at most, for (T,) step sizes > 0 and (T,) norms.

    With S_t = lambda_t + ... + lambda_T it is half of D^2 / S_1 + sum_{t<T} G_t^2 lambda_t^2 / S_{t+1} + G_T^2 lambda_T: the
    paper's double sum, telescoped. Refinement's last size is 0, where the bound has no value: leave that step out.

    Raises:
        InputError: sizes or norms that are not above 0, or of different lengths.
    """
    lam, g = _pair(sizes, norms)
    left = np.cumsum(lam[::-1])[::-1]
    moved = (g[:-1] * lam[:-1]) ** 2 / left[1:]
    return float((distance**2 / left[0] + moved.sum() + g[-1] ** 2 * lam[-1]) / 2)


def closed_form(norms: ArrayLike, distance: float = 1.0) -> Floats:
    """(T,) step sizes D w_t (w_{t+1} + ... + w_T) / W^(3/2), w = G^-2, W its sum: refinement, with its rate. The last is 0."""
    g = checked(np.asarray(norms, np.float64), range(np.size(norms)))
    weights = g**-2.0
    tail = np.concatenate([np.cumsum(weights[:0:-1])[::-1], [0.0]])
    return np.asarray(distance * weights * tail / weights.sum() ** 1.5)


def promise(norms: ArrayLike, distance: float = 1.0) -> float:
    """What f(x_T) - f* is at most under `closed_form`: D / sqrt(sum G^-2); with one norm G throughout, D G / sqrt(T)."""
    g = checked(np.asarray(norms, np.float64), range(np.size(norms)))
    return float(distance / math.sqrt((g**-2.0).sum()))


def numeric_optimum(norms: ArrayLike, distance: float = 1.0, iterations: int = 2000) -> Floats:
    """(T,) step sizes > 0 that minimise `bound`, by L-BFGS over their logarithms from D / (G sqrt(T)) on.

    Raises:
        MissingExtra: SciPy is not installed.
    """
    g = checked(np.asarray(norms, np.float64), range(np.size(norms)))
    start = np.log(distance / (g * math.sqrt(len(g))))
    options = {"maxiter": iterations, "maxfun": 4 * iterations, "ftol": 1e-15, "gtol": 1e-10}
    minimize = optional("scipy.optimize").minimize
    found = minimize(_bound_and_slope, start, args=(g, distance), jac=True, method="L-BFGS-B", options=options)
    return np.exp(found.x)


def hard_instance(sizes: ArrayLike) -> float:
    """f(x_{T+1}) - f(0), f the maximum of T + 1 linear functions that makes the last of (T,) steps from 0 as bad as it can be.

    Its minimum over the unit ball, to which each iterate is projected, is not above f(0) = 0. Made against steps 1 / sqrt(t),
    for which the result is at least log(T) / (32 sqrt(T)).
    """
    lam = np.asarray(sizes, np.float64)
    total = len(lam)
    planes, x = _planes(total), np.zeros(total)
    for size in lam:
        heights = planes @ x
        x -= size * planes[int(np.argmax(heights >= heights.max() - 1e-12))]
        x /= max(1.0, float(np.linalg.norm(x)))
    return float((planes @ x).max())


def absolute_value(sizes: ArrayLike, distance: float = 1.0) -> float:
    """The worst |x_{T+1}| of subgradient descent on f(x) = |x| from a start with |x_1| <= `distance`, for (T,) sizes.

    Sought over 20,001 starts from 0 to `distance` (the other half is their mirror image); the slope at 0 is taken as 1.
    """
    lam = np.asarray(sizes, np.float64)
    x = np.linspace(0.0, distance, 20_001)
    for size in lam:
        x = x - size * np.where(x >= 0, 1.0, -1.0)
    return float(np.abs(x).max())


def _planes(total: int) -> Floats:
    """(T + 1, T) slopes: 1 / (8 (T - j + 1)) before the diagonal, -sqrt(j) / (2 sqrt(T)) on it, 0 after, j = 1..T."""
    j = np.arange(1, total + 1)
    planes = np.tril(np.tile(1 / (8 * (total - j + 1)), (total + 1, 1)), -1)
    planes[j - 1, j - 1] = -np.sqrt(j) / (2 * math.sqrt(total))
    return planes


def _pair(sizes: ArrayLike, norms: ArrayLike) -> tuple[Floats, Floats]:
    lam, g = np.asarray(sizes, np.float64), np.asarray(norms, np.float64)
    if lam.shape != g.shape or lam.ndim != 1 or not lam.size:
        raise InputError("bound", f"{lam.size} step sizes and {g.size} norms", "one of each for every step")
    if not (lam > 0).all():
        at = int(np.argmax(~(lam > 0)))
        raise InputError(f"size of step {at}", f"{lam[at]:g}", "a number above 0")
    return lam, checked(g, range(len(g)))


def _bound_and_slope(log_sizes: Floats, g: Floats, distance: float) -> tuple[float, Floats]:
    """The bound, and its derivative by the logarithm of each size."""
    lam = np.exp(log_sizes)
    left = np.cumsum(lam[::-1])[::-1]
    slope = np.full(len(lam), -((distance / left[0]) ** 2))
    slope[:-1] += 2 * g[:-1] ** 2 * lam[:-1] / left[1:]
    slope[1:] -= np.cumsum((g[:-1] * lam[:-1] / left[1:]) ** 2)
    slope[-1] += g[-1] ** 2
    return bound(lam, g, distance), slope * lam / 2
