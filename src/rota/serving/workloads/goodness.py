"""How near a regenerated workload comes to the original."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rota.serving.model import Workload
from rota.serving.workloads import stats

if TYPE_CHECKING:
    from rich.table import Table

WINDOWS = (1.0, 10.0, 60.0)


@dataclass(frozen=True)
class Pair:
    """The same figure of the original and of the regenerated workload."""

    original: float
    generated: float


@dataclass(frozen=True)
class Goodness:
    """Distances between an original workload and a regenerated one.

    Attributes:
        ks_gap, ks_prompt, ks_output: two-sample Kolmogorov-Smirnov distances, in [0, 1].
        ks_noise: the distance that two samples of these sizes from one law stay below 95 times in 100.
        figures: pairs by name: rate, gap_cv, fano_1s/10s/60s, autocorrelation_10s (counts in 10 s, lag 1), prompt_mean,
            output_mean, prompt_output_rank (Spearman), ideal_reuse. NaN where a workload has no such figure.
    """

    ks_gap: float
    ks_prompt: float
    ks_output: float
    ks_noise: float
    figures: dict[str, Pair]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able numbers; None for what is not defined."""
        plain = {**asdict(self)}
        plain["figures"] = {
            name: {side: None if math.isnan(value) else value for side, value in pair.items()}
            for name, pair in plain["figures"].items()
        }
        return plain

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table("figure", "original", "generated")
        for name, pair in self.figures.items():
            if not math.isnan(pair.original):
                table.add_row(name, f"{pair.original:.4g}", f"{pair.generated:.4g}")
        for name in ("gap", "prompt", "output"):
            table.add_row(f"KS distance, {name}", f"noise {self.ks_noise:.3f}", f"{getattr(self, f'ks_{name}'):.3f}")
        return table


def goodness(original: Workload, generated: Workload) -> Goodness:
    """Compare two workloads: distributions of gaps and lengths, burstiness at three time scales, dependence, prefix
    reuse."""
    n, m = len(original), len(generated)
    before, after = figures(original), figures(generated)
    gaps = [np.diff(stats.arrivals(w)) for w in (original, generated)]
    return Goodness(
        stats.ks_distance(*gaps) if min(map(len, gaps)) else math.nan,
        stats.ks_distance(original.prompt, generated.prompt),
        stats.ks_distance(original.output, generated.output),
        1.358 * math.sqrt((n + m) / (n * m)),
        {name: Pair(before[name], after[name]) for name in before},
    )


def figures(workload: Workload) -> dict[str, float]:
    """The figures that `goodness` compares, by name."""
    times = stats.arrivals(workload)
    return {
        "rate": workload.rate,
        "gap_cv": stats.variation(np.diff(times)),
        **{f"fano_{window:g}s": stats.fano(times, window) for window in WINDOWS},
        "autocorrelation_10s": stats.autocorrelation(stats.counts(times, 10.0)),
        "prompt_mean": float(workload.prompt.mean()),
        "output_mean": float(workload.output.mean()),
        "prompt_output_rank": stats.rank_correlation(workload.prompt, workload.output),
        "ideal_reuse": stats.ideal_reuse(workload),
    }


def average(found: Sequence[Goodness]) -> Goodness:
    """The mean of several comparisons with the same original."""
    pairs = {
        name: Pair(pair.original, float(np.mean([g.figures[name].generated for g in found])))
        for name, pair in found[0].figures.items()
    }
    gap, prompt, output, noise = (
        float(np.mean([getattr(g, name) for g in found])) for name in ("ks_gap", "ks_prompt", "ks_output", "ks_noise")
    )
    return Goodness(gap, prompt, output, noise, pairs)
