"""The figures of a comparison: means with 95 % intervals, the best of each group, differences from a baseline in pairs.

A row is a choice (the label `policies`, or the last label) within a group (all other labels but the seed). The seeds of
a row are draws; the same seed in two rows of a group is the same workload, so differences are taken seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rota.core.errors import UnknownName
from rota.core.results import Results
from rota.core.results import Row as Outcome
from rota.core.stats import mean_interval, paired_difference
from rota.report.metrics import Metric, choose

SEED = "seed"
CHOICE = "policies"

Labels = Mapping[str, str | int]


@dataclass(frozen=True)
class Difference:
    """Mean difference from the baseline over shared seeds, and its 95 % interval, as shares of the baseline's mean."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Estimate:
    """One metric of one row over `n` seeds: `mean`, 95 % interval (infinite for one seed), `best` of its group?"""

    mean: float
    low: float
    high: float
    n: int
    difference: Difference | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One choice in one group, with an `Estimate` for each metric by name."""

    group: tuple[str, ...]
    choice: str
    is_baseline: bool
    figures: Mapping[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """What the terminal table and the report both show.

    Attributes:
        group_names: the labels that make a group, e.g. ("workload", "fleet").
        choice_name: the label that is compared, e.g. "policies".
        metrics: the columns.
        rows: in the order of the study.
    """

    group_names: tuple[str, ...]
    choice_name: str
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]

    @property
    def varying(self) -> list[int]:
        """Positions in `group_names` of the labels that tell groups apart."""
        return [i for i in range(len(self.group_names)) if len({row.group[i] for row in self.rows}) > 1]

    @property
    def constant(self) -> str:
        """The labels that are the same in every row, as text; empty if there is none."""
        if not self.rows:
            return ""
        same = [i for i in range(len(self.group_names)) if i not in self.varying]
        return ", ".join(f"{self.group_names[i]} {self.rows[0].group[i]}" for i in same)

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows for JSON: labels, and for each metric mean, low, high, n, best, difference; null where undefined."""
        return [self._row(row) for row in self.rows]

    def _row(self, row: Row) -> dict[str, Any]:
        labels = dict(zip(self.group_names, row.group, strict=True)) | {self.choice_name: row.choice}
        return {
            "labels": labels,
            "baseline": row.is_baseline,
            "metrics": {m: _plain(f) for m, f in row.figures.items()},
        }


def compare(results: Results, metrics: Iterable[str] | None = None, baseline: str | None = None) -> Comparison:
    """Means, intervals and paired differences of every row of a study.

    Args:
        results: of `run_study`.
        metrics: names of metrics; None for the well-known ones.
        baseline: the choice that the others of its group are held against; part of its name will do where only one
            choice contains it. None for the first one of each group.

    Raises:
        UnknownName: no such metric, or no (or more than one) such baseline.
    """
    group_names, choice_name = label_names(results)
    chosen = choose(results.metrics, metrics)
    groups = grouped(results)
    against = _baseline(baseline, [choice for choices in groups.values() for choice in choices])
    rows = [row for group, choices in groups.items() for row in _group(group, choices, chosen, against)]
    return Comparison(group_names, choice_name, tuple(chosen), tuple(rows))


def grouped(results: Results) -> dict[tuple[str, ...], dict[str, list[Outcome]]]:
    """The rows of the results by group and choice, in the order of the study; one row a seed."""
    group_names, choice_name = label_names(results)
    groups: dict[tuple[str, ...], dict[str, list[Outcome]]] = {}
    for row in results.rows:
        group = tuple(str(row.labels.get(name, "")) for name in group_names)
        groups.setdefault(group, {}).setdefault(str(row.labels.get(choice_name, "")), []).append(row)
    return groups


def label_names(results: Results) -> tuple[tuple[str, ...], str]:
    """The labels that make a group, and the one that is compared."""
    names = [name for name in results.labels if name != SEED]
    choice = CHOICE if CHOICE in names or not names else names[-1]
    return tuple(name for name in names if name != choice), choice


def _group(
    group: tuple[str, ...], choices: Mapping[str, list[Outcome]], metrics: Sequence[Metric], against: str | None
) -> list[Row]:
    reference = against if against in choices else (next(iter(choices)) if against is None else None)
    figures: dict[str, dict[str, Estimate]] = {choice: {} for choice in choices}
    for metric in metrics:
        values = {
            choice: {_seed(row): row.metrics.get(metric.name, math.nan) for row in rows}
            for choice, rows in choices.items()
        }
        best = _best({choice: mean_interval(list(v.values())).value for choice, v in values.items()}, metric)
        for choice, seeds in values.items():
            paired = None if reference in (None, choice) else _difference(seeds, values[str(reference)])
            figures[choice][metric.name] = _figure(seeds, paired, choice in best)
    return [Row(group, choice, choice == reference, figures[choice]) for choice in choices]


def _figure(values: Mapping[str | int, float], difference: Difference | None, best: bool) -> Estimate:
    mean, low, high, n = mean_interval([v for v in values.values() if math.isfinite(v)])
    return Estimate(mean, low, high, n, difference, best)


def _difference(values: Mapping[str | int, float], reference: Mapping[str | int, float]) -> Difference | None:
    seeds = [s for s in values if s in reference and math.isfinite(values[s]) and math.isfinite(reference[s])]
    scale = abs(sum(reference[s] for s in seeds)) / max(len(seeds), 1)
    if scale == 0:
        return None
    mean, low, high, _ = paired_difference([values[s] for s in seeds], [reference[s] for s in seeds])
    return Difference(mean / scale, low / scale, high / scale)


def _best(means: Mapping[str, float], metric: Metric) -> set[str]:
    finite = {choice: mean for choice, mean in means.items() if math.isfinite(mean)}
    if metric.better is None or len(set(finite.values())) < 2:
        return set()
    top = (min if metric.better == "lower" else max)(finite.values())
    return {choice for choice, mean in finite.items() if mean == top}


def _baseline(wanted: str | None, choices: Sequence[str]) -> str | None:
    if wanted is None or wanted in choices:
        return wanted
    found = sorted({choice for choice in choices if wanted in choice})
    if len(found) != 1:
        raise UnknownName("baseline", wanted, found or sorted(set(choices)))
    return found[0]


def _seed(row: Outcome) -> str | int:
    return row.labels.get(SEED, 0)


def _plain(figure: Estimate) -> dict[str, Any]:
    against = figure.difference
    paired = None if against is None else {k: _finite(getattr(against, k)) for k in ("mean", "low", "high")}
    bounds = {k: _finite(getattr(figure, k)) for k in ("mean", "low", "high")}
    return {**bounds, "n": figure.n, "best": figure.best, "difference": paired}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
