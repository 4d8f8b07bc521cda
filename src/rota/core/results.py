"""What a study measured: rows of labels, metrics and curves; summaries with intervals; comparisons paired by seed."""

from __future__ import annotations

import csv
import importlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from rota.core import stats
from rota.core.atomic import atomic_write
from rota.core.errors import InputError, UnknownName, optional

if TYPE_CHECKING:
    import polars

Labels = dict[str, str | int]


@dataclass(frozen=True)
class Row:
    """One finished cell. `curves` is `{name: {"x": [...], "y": [...]}}`; `seconds` is how long the cell took."""

    labels: Labels
    metrics: dict[str, float]
    curves: dict[str, dict[str, list[float]]]
    seconds: float

    @classmethod
    def parse(cls, text: str, labels: Labels) -> Row:
        """The row in a cell's file. Raises ValueError, KeyError or TypeError if it is not one, or not of this cell."""
        whole = json.loads(text)
        if whole["labels"] != labels:
            raise ValueError("another cell")
        metrics = {name: float(value) for name, value in whole["metrics"].items()}
        return cls(labels, metrics, dict(whole["curves"]), float(whole["seconds"]))


class Summary(NamedTuple):
    """A metric over the seeds of one combination of labels: mean, and the 95 % interval `low` to `high`."""

    labels: Labels
    mean: float
    low: float
    high: float
    n: int


class Comparison(NamedTuple):
    """Another combination less the baseline, seed by seed.

    `difference` is the mean of the differences, `low` to `high` its 95 % t-interval; `ratio` is the ratio of the means,
    with its 95 % bootstrap interval; `n` counts the seeds that both have.
    """

    labels: Labels
    difference: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    n: int


@dataclass(frozen=True)
class Results:
    """The rows of a study, in the order of its cells.

    Attributes:
        name: of the study.
        rows: finished cells.
        manifest: cells, seeds, versions and platform.
    """

    name: str
    rows: Sequence[Row]
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.metrics))

    @property
    def labels(self) -> list[str]:
        """Names of all labels, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.labels))

    def summary(self, metric: str) -> list[Summary]:
        """Mean and 95 % t-interval over seeds, for each combination of the other labels; NaN is left out.

        Raises:
            UnknownName: no row has such a metric.
        """
        groups = self._by_seed(metric)
        return [Summary(dict(key), *stats.mean_interval(list(of.values()))) for key, of in groups.items()]

    def compare(self, metric: str, baseline: Labels) -> list[Comparison]:
        """Each combination against the otherwise equal one that carries the labels of `baseline`, over equal seeds.

        Args:
            metric: which one.
            baseline: e.g. `{"policy": "round-robin"}`.

        Raises:
            UnknownName: no row has such a metric.
            InputError: no row carries these labels.
        """
        groups = self._by_seed(metric)
        if not any(baseline.items() <= dict(key).items() for key in groups):
            raise InputError(
                "baseline", str(baseline), f"labels among {sorted({str(k) for key in groups for k in key})}"
            )
        return [
            _compare(dict(key), of, groups[against])
            for key, of in groups.items()
            if (against := tuple({**dict(key), **baseline}.items())) in groups and against != key
        ]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat dict a row: labels, metrics, `seconds`; None for a missing label, NaN for a missing metric."""
        labels, metrics = dict.fromkeys(self.labels), dict.fromkeys(self.metrics, math.nan)
        return [{**labels, **row.labels, **metrics, **row.metrics, "seconds": row.seconds} for row in self.rows]

    def to_polars(self) -> polars.DataFrame:
        """One row a cell: labels, metrics, `seconds`."""
        return optional("polars").DataFrame(self.to_dicts(), infer_schema_length=None)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the columns as Parquet."""
        frame = self.to_polars()
        with atomic_write(path) as file:
            frame.write_parquet(file)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write labels, metrics and `seconds`, one line a cell; a metric that is missing is an empty field."""
        rows = [{name: "" if value != value else value for name, value in row.items()} for row in self.to_dicts()]
        with atomic_write(path, "w") as file:
            writer = csv.DictWriter(file, [*self.labels, *self.metrics, "seconds"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write everything, curves and manifest too; NaN and infinities become null."""
        rows = [vars(row) for row in self.rows]
        with atomic_write(path, "w") as file:
            json.dump(
                _plain({"study": self.name, "manifest": dict(self.manifest), "rows": rows}), file, allow_nan=False
            )

    def __rich__(self) -> Any:
        return importlib.import_module("rota.report.table").comparison(self)

    def _repr_html_(self) -> str:
        summaries = {metric: {tuple(s.labels.items()): s for s in self.summary(metric)} for metric in self.metrics}
        groups = list(dict.fromkeys(key for of in summaries.values() for key in of))
        head = "".join(f"<th>{escape(', '.join(str(value) for _, value in key))}</th>" for key in groups)
        lines = (
            f"<tr><td>{escape(metric)}</td>{''.join(_html_cell(of.get(key)) for key in groups)}</tr>"
            for metric, of in summaries.items()
        )
        return f"<b>{escape(self.name)}</b><table><tr><th></th>{head}</tr>{''.join(lines)}</table>"

    def _by_seed(self, metric: str) -> dict[_Key, dict[str | int, float]]:
        if metric not in self.metrics:
            raise UnknownName("metric", metric, self.metrics)
        names = [name for name in self.labels if name != "seed"]
        groups: dict[_Key, dict[str | int, float]] = {}
        for row in self.rows:
            of = groups.setdefault(tuple((name, row.labels[name]) for name in names if name in row.labels), {})
            of[row.labels.get("seed", len(of))] = row.metrics.get(metric, math.nan)
        return groups


_Key = tuple[tuple[str, str | int], ...]


def _compare(labels: Labels, mine: Mapping[str | int, float], base: Mapping[str | int, float]) -> Comparison:
    seeds = [seed for seed in mine if seed in base and not math.isnan(mine[seed] - base[seed])]
    a, b = [mine[seed] for seed in seeds], [base[seed] for seed in seeds]
    difference, ratio = stats.paired_difference(a, b), stats.ratio_interval(a, b)
    return Comparison(labels, *difference[:3], *ratio[:3], len(seeds))


def _plain(value: Any) -> Any:
    """The value with None for what JSON cannot say."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _html_cell(summary: Summary | None) -> str:
    if summary is None or math.isnan(summary.mean):
        return "<td></td>"
    spread = f" ± {summary.high - summary.mean:.2g}" if math.isfinite(summary.high) else ""
    return f"<td>{summary.mean:.4g}{spread}</td>"
