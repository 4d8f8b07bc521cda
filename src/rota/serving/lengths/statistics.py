"""What repeated samples say about response lengths: variation within and between prompts, and the noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rota.serving.lengths.castillo import LIMIT, Sample, degenerate
from rota.serving.lengths.scores import NoiseFloor, floor_of_samples


@dataclass(frozen=True)
class PairStatistics:
    """Response lengths of one model on one corpus; `all` stands for all of them.

    Attributes:
        prompts: rows.
        mean: mean length, tokens.
        within: mean over prompts of the coefficient of variation among a prompt's samples.
        between: coefficient of variation of the prompts' mean lengths.
        noise_share: share of the variance of the length that lies within prompts, so that no predictor can explain it
            (one-way analysis of variance; sampling error of the means corrected), in [0, 1].
        floor: the error that perfect knowledge of each prompt's distribution pays, tokens.
        degenerate: share of responses that ran into the limit.
    """

    dataset: str
    model: str
    prompts: int
    mean: float
    within: float
    between: float
    noise_share: float
    floor: NoiseFloor
    degenerate: float


def statistics(
    samples: Sequence[Sample], dataset: str = "all", model: str = "all", limit: int = LIMIT
) -> PairStatistics:
    """Statistics of the given rows, under the given labels."""
    lengths = [np.asarray(sample.output_sizes, dtype=np.float64) for sample in samples]
    means = np.array([x.mean() for x in lengths])
    capped = sum(len(degenerate(sample, limit)) for sample in samples)
    return PairStatistics(
        dataset, model, len(samples), float(np.concatenate(lengths).mean()),
        within=float(np.mean([x.std(ddof=1) / x.mean() for x in lengths if len(x) > 1])),
        between=float(means.std() / means.mean()),
        noise_share=_noise_share([x for x in lengths if len(x) > 1]),
        floor=floor_of_samples(lengths),
        degenerate=capped / sum(map(len, lengths)),
    )  # fmt: skip


def table(samples: Sequence[Sample], limit: int = LIMIT) -> list[PairStatistics]:
    """Statistics of every pair of corpus and model, in alphabetical order, and of all rows together last."""
    pairs = sorted({(sample.dataset, sample.model) for sample in samples})
    chosen = {pair: [s for s in samples if (s.dataset, s.model) == pair] for pair in pairs}
    return [*(statistics(rows, *pair, limit) for pair, rows in chosen.items()), statistics(samples, limit=limit)]


def _noise_share(lengths: Sequence[np.ndarray]) -> float:
    """Variance within prompts, as a share of it plus the variance of the prompts' true means."""
    within = float(np.mean([x.var(ddof=1) for x in lengths]))
    sampling = float(np.mean([x.var(ddof=1) / len(x) for x in lengths]))
    between = max(float(np.var([x.mean() for x in lengths], ddof=1)) - sampling, 0.0) if len(lengths) > 1 else 0.0
    return within / (within + between) if within + between > 0 else 0.0
