"""How good predicted length distributions are, held against the noise that no prediction can remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rota.core.errors import InputError, optional
from rota.serving.lengths.distribution import LengthDistribution
from rota.serving.model import Floats, Ints

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantile levels over which the pinball loss is averaged."""


@dataclass(frozen=True)
class Score:
    """Scores of n predictions; lower is better but for `kendall_tau` (1 is best) and `coverage` (calibrated at 0.9).

    Attributes:
        mae: mean |length - predicted median|, tokens.
        crps: mean continuous ranked probability score, tokens.
        pinball: mean pinball loss over `LEVELS`, tokens.
        kendall_tau: rank correlation (tau-b) of predicted mean and length; NaN where all predictions are equal.
        coverage: share of lengths between the predicted 5 % and 95 % quantiles; 0.9 or more if calibrated.
    """

    mae: float
    crps: float
    pinball: float
    kendall_tau: float
    coverage: float


def score(predictions: Sequence[LengthDistribution], lengths: ArrayLike) -> Score:
    """Score predictions against the lengths that came, one for each.

    Raises:
        InputError: no predictions, or not one for each length.
    """
    y = _paired(predictions, lengths)
    return Score(
        mae=float(np.mean([abs(p.median() - x) for p, x in zip(predictions, y, strict=True)])),
        crps=float(np.mean([crps(p, x) for p, x in zip(predictions, y, strict=True)])),
        pinball=float(np.mean([pinball(level, [p.quantile(level) for p in predictions], y) for level in LEVELS])),
        kendall_tau=kendall_tau([p.mean() for p in predictions], y),
        coverage=coverage(predictions, y, 0.9),
    )


def pinball(level: float, quantiles: ArrayLike, lengths: ArrayLike) -> float:
    """Mean pinball loss of predicted quantiles at one level in (0, 1), tokens: (level - [y < q]) (y - q).

    Source: Koenker and Bassett 1978.
    """
    error = np.asarray(lengths, dtype=np.float64) - np.asarray(quantiles, dtype=np.float64)
    return float(np.maximum(level * error, (level - 1) * error).mean())


def crps(prediction: LengthDistribution, length: float) -> float:
    """Continuous ranked probability score, tokens, exact on the support: E|X - y| - E|X - X'| / 2.

    Source: Gneiting and Raftery 2007, equation 21.
    """
    return float(prediction.weight @ np.abs(prediction.support - length)) - prediction.mean_difference() / 2


def kendall_tau(predicted: ArrayLike, lengths: ArrayLike) -> float:
    """Kendall's tau-b in [-1, 1], ties counted as neither (SciPy, extra `fit`); NaN if either side is constant."""
    if np.ptp(np.asarray(predicted)) == 0 or np.ptp(np.asarray(lengths)) == 0:
        return float("nan")
    return float(optional("scipy.stats").kendalltau(predicted, lengths).statistic)


def coverage(predictions: Sequence[LengthDistribution], lengths: ArrayLike, level: float) -> float:
    """Share of lengths inside the central interval that should hold `level` of them."""
    y, tail = _paired(predictions, lengths), (1 - level) / 2
    inside = [p.quantile(tail) <= x <= p.quantile(1 - tail) for p, x in zip(predictions, y, strict=True)]
    return float(np.mean(inside))


@dataclass(frozen=True)
class NoiseFloor:
    """The error that the true conditional distributions pay, mean over prompts, in tokens.

    The floor of the MAE lies between two estimates when the law is known only through a few samples a prompt.

    Attributes:
        mae_low: mean |x - median of the prompt's samples|; too low, as the median was fitted to the very samples.
        mae_high: mean |x - median of the prompt's other samples|; what leave-one-out prediction pays, too high by the
            error of that median.
        crps: half the mean |x - x'| over pairs of a prompt's samples: unbiased for the CRPS of the truth.
    """

    mae_low: float
    mae_high: float
    crps: float


def floor_of_law(law: Sequence[LengthDistribution]) -> NoiseFloor:
    """The exact floor where the law of every length is known."""
    mae = float(np.mean([p.mean_deviation() for p in law]))
    return NoiseFloor(mae, mae, float(np.mean([p.mean_difference() for p in law])) / 2)


def floor_of_samples(samples: Sequence[ArrayLike]) -> NoiseFloor:
    """The floor estimated from repeated lengths, an array for each prompt; prompts with fewer than 2 are left out."""
    repeated = [np.asarray(s, dtype=np.float64) for s in samples if np.size(s) >= 2]
    if not repeated:
        raise InputError("noise floor", "no prompt with two samples or more", "repeated samples of the same prompt")
    return NoiseFloor(
        mae_low=float(np.mean([np.abs(x - np.median(x)).mean() for x in repeated])),
        mae_high=float(np.mean([np.abs(x - _medians_of_others(x)).mean() for x in repeated])),
        crps=float(np.mean([_mean_difference(x) for x in repeated])) / 2,
    )


def _medians_of_others(x: Floats) -> Floats:
    return np.array([np.median(np.delete(x, i)) for i in range(len(x))])


def _mean_difference(x: Floats) -> float:
    """Unbiased E|X - X'| from n samples: over the n (n - 1) ordered pairs of different samples."""
    n = len(x)
    return float(2 * (2 * np.arange(n) - n + 1) @ np.sort(x) / (n * (n - 1)))


def _paired(predictions: Sequence[LengthDistribution], lengths: ArrayLike) -> Ints:
    y = np.asarray(lengths, dtype=np.int64)
    if not len(predictions) or len(predictions) != len(y):
        raise InputError(
            "length scores", f"{len(predictions)} predictions for {len(y)} lengths", "one for each, and at least one"
        )
    return y
