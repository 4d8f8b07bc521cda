"""Capacity planning: the fewest instances, policy by policy, with which a trace keeps its service-level objective."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from rota.core.errors import Infeasible, InputError
from rota.core.results import Results
from rota.core.store import Cell
from rota.core.study import run_study
from rota.serving.fleets import instance
from rota.serving.instance_file import instance_of
from rota.serving.model import Fleet, Instance, Workload
from rota.serving.settings import check_policies
from rota.serving.simulate import simulate
from rota.serving.slo import Bound, parse
from rota.serving.workloads import by_name

CANDIDATES: Mapping[str, Mapping[str, str]] = {
    "round-robin": {"dispatch": "round-robin"},
    "least requests": {"dispatch": "least-requests"},
    "least load (INFaaS++)": {"dispatch": "least-load"},
    "Llumnix": {"dispatch": "freeness", "reschedule": "llumnix"},
}
"""Policies that are planned for where none are named."""


@dataclass(frozen=True)
class Option:
    """What one set of policies needs: `instances` (0: the objective was not kept with any number tried), and the metrics then.

    `fewer` holds the metrics with one instance less, where some promise was broken.
    """

    policies: str
    instances: int
    gpus: int
    metrics: Mapping[str, float]
    fewer: Mapping[str, float]
    simulations: int


@dataclass(frozen=True)
class Plan:
    """The options, fewest GPUs first."""

    workload: str
    instance: str
    slo: tuple[Bound, ...]
    options: tuple[Option, ...]

    @property
    def best(self) -> Option:
        """The option with the fewest GPUs; raises `Infeasible` if none keeps the objective."""
        for option in self.options:
            if option.instances:
                return option
        text = ", ".join(map(str, self.slo))
        raise Infeasible(f"no number of instances that was tried keeps {text} under any of the policies")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        named = [str(bound) for bound in self.slo]
        shown = [
            {"policies": o.policies, "instances": o.instances, "gpus": o.gpus, "simulations": o.simulations,
             "metrics": dict(o.metrics), "with_one_less": dict(o.fewer)}
            for o in self.options
        ]  # fmt: skip
        return {"workload": self.workload, "instance": self.instance, "slo": named, "options": shown}

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(
            title=f"{self.workload} on {self.instance}: {', '.join(map(str, self.slo))}", title_justify="left"
        )
        for name in ("policies", "instances", "GPUs", *(f"{b.metric} (one less)" for b in self.slo), "simulations"):
            table.add_column(name, justify="left" if name == "policies" else "right")
        for o in self.options:
            table.add_row(
                o.policies, str(o.instances or "not kept"), str(o.gpus or "-"),
                *(f"{_shown(o.metrics, b)} ({_shown(o.fewer, b)})" for b in self.slo), str(o.simulations),
            )  # fmt: skip
        return table

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{o.policies}</td><td>{o.instances}</td><td>{o.gpus}</td></tr>" for o in self.options)
        return f"<table><tr><th>policies</th><th>instances</th><th>GPUs</th></tr>{rows}</table>"


def plan(
    trace: str, kind: Instance | str, slo: str, policies: Mapping[str, Mapping[str, Any]] | None = None, *,
    most: int = 512, seeds: int = 1, out: str | os.PathLike[str] | None = None, jobs: int | None = None, progress: bool = True,
) -> Plan:  # fmt: skip
    """Find the fewest instances that keep an objective, for each set of policies.

    The objective must hold with every seed. The number is found by doubling and bisection, and is then confirmed: one
    instance less breaks a promise.

    Args:
        trace: a workload by name, or the path of a trace (`rota.serving.workloads.by_name`).
        kind: an instance, a preset's name, or an instance file.
        slo: `ttft_p99<1s, tpot_p95<50ms`; any metric of a run.
        policies: sets of policies by name; `CANDIDATES` if left out.
        most: instances at which the search gives up.
        seeds: how many draws of the workload must all keep the objective (1 for a recorded trace).
        out, jobs, progress: see `rota.core.study.run_study`.

    Raises:
        InputError, UnknownName: as the parts of the question.
    """
    for name, count in (("most", most), ("seeds", seeds)):
        if count < 1:
            raise InputError(name, str(count), "at least 1")
    chosen = dict(policies or CANDIDATES)
    for each in chosen.values():
        check_policies(each)
    found = instance(kind) if isinstance(kind, str) else kind
    bounds = parse(slo, known=_metric_names(found))
    question = {"trace": trace, "instance": asdict(found), "slo": slo, "most": most, "seeds": seeds}
    cells = [Cell({"policies": label}, {**question, "policies": dict(specs)}) for label, specs in chosen.items()]
    results = run_study(f"plan for {trace}", cells, f"{__name__}:execute", out=out, jobs=jobs, progress=progress)
    options = sorted(_options(results, found), key=lambda o: (o.instances == 0, o.instances, o.policies))
    return Plan(trace, found.name, bounds, tuple(options))


def search(
    workloads: Sequence[Workload], kind: Instance, bounds: Sequence[Bound], policies: Mapping[str, Any], most: int
) -> tuple[int, dict[int, dict[str, float]]]:
    """The fewest instances of `kind` with which every workload keeps every bound (0: none), and the metrics of each number tried."""
    tried: dict[int, dict[str, float]] = {}

    def kept(count: int) -> bool:
        if count not in tried:
            tried[count] = _worst(workloads, Fleet.of(kind, count), bounds, policies)
        return all(bound.kept(tried[count][bound.metric]) for bound in bounds)

    return fewest(kept, most), tried


def fewest(kept: Callable[[int], bool], most: int) -> int:
    """The least n in 1..most with `kept(n)`, given that more is never worse; 0 if there is none. Confirms that n - 1 fails."""
    high = 1
    while not kept(high):
        if high >= most:
            return 0
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    while high > 1 and kept(high - 1):
        high -= 1
    return high


def execute(spec: Mapping[str, Any]) -> dict[str, Any]:
    """One cell of a plan: the search for one set of policies."""
    kind = instance_of(spec["instance"], "instance")
    workloads = [by_name(spec["trace"], seed=s) for s in range(spec["seeds"])]
    count, tried = search(workloads, kind, parse(spec["slo"]), spec["policies"], spec["most"])
    figures: dict[str, float] = {"instances": count, "simulations": len(tried) * len(workloads)}
    figures |= {f"at.{k}": v for k, v in tried.get(count, {}).items()}
    figures |= {f"below.{k}": v for k, v in tried.get(count - 1, {}).items()}
    return {"metrics": {k: float(v) for k, v in figures.items() if np.isfinite(v)}}


def _shown(metrics: Mapping[str, float], bound: Bound) -> str:
    return f"{metrics[bound.metric]:.4g}" if bound.metric in metrics else "-"


def _options(results: Results, kind: Instance) -> list[Option]:
    options = []
    for row in results.rows:
        at = {k[3:]: v for k, v in row.metrics.items() if k.startswith("at.")}
        below = {k[6:]: v for k, v in row.metrics.items() if k.startswith("below.")}
        count = int(row.metrics["instances"])
        label = str(row.labels["policies"])
        options.append(Option(label, count, count * kind.gpus, at, below, int(row.metrics["simulations"])))
    return options


def _worst(
    workloads: Sequence[Workload], fleet: Fleet, bounds: Sequence[Bound], policies: Mapping[str, Any]
) -> dict[str, float]:
    """The metrics of the bounds over all workloads, each at its worst."""
    runs = [simulate(fleet, workload, policies, seed=s).metrics for s, workload in enumerate(workloads)]
    return {b.metric: (min if b.least else max)(run[b.metric] for run in runs) for b in bounds}


def _metric_names(kind: Instance) -> Mapping[str, float]:
    """Every metric there is, from the run of a single small request."""
    one = Workload.of([0.0], [16], [2])
    return simulate(Fleet.of(replace(kind, prefix_cache=False), 1), one).metrics
