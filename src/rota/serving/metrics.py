"""The figures that the field reports, from a finished run. Seconds, unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rota.serving.model import Floats

if TYPE_CHECKING:
    from rota.serving.run import Run

LEVELS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def metrics(run: Run) -> dict[str, float]:
    """All metrics of a run.

    `ttft`, `tpot`, `e2e`, `queue` and `preemption_loss` over requests, `itl` over inter-token gaps, each as mean and
    percentiles; counts, rates, memory, cost.
    """
    found: dict[str, float] = {}
    for name in ("ttft", "tpot", "e2e", "queue", "preemption_loss"):
        found |= _described(name, run.requests[name])
    return found | _gaps(run) | _rates(run) | _fleet(run) | _memory(run) | slo_attainment(run)


def by_class(run: Run, column: str) -> dict[str, dict[str, float]]:
    """Latency figures for each `priority` or `tenant` of the workload, by its name."""
    codes = getattr(run.workload, column)
    name = (lambda c: run.workload.tenants[c]) if column == "tenant" else str
    return {
        name(int(code)): {
            key: value for metric in ("ttft", "tpot", "e2e", "preemption_loss")
            for key, value in _described(metric, run.requests[metric][codes == code]).items()
        }
        for code in np.unique(codes)
    }  # fmt: skip


def slo_attainment(run: Run, bounds: Mapping[str, float] | None = None) -> dict[str, float]:
    """Share of requests that keep their TTFT and TPOT bounds, and how many such come a second (`goodput_rps`).

    `bounds` such as {"ttft": 1.0, "tpot": 0.05} replace the workload's own columns; without either, all requests count.
    """
    ttft, tpot = run.requests["ttft"], run.requests["tpot"]
    if bounds is None:
        late = (ttft > run.workload.slo_ttft) | (tpot > run.workload.slo_tpot)
    else:
        late = (ttft > bounds.get("ttft", np.inf)) | (tpot > bounds.get("tpot", np.inf))
    share = float(1 - late.mean()) if len(late) else 1.0
    return {"slo_attainment": share, "goodput_rps": share * len(ttft) / max(_span(run), 1e-12)}


def gap_quantiles(gaps: np.ndarray, levels: list[float]) -> list[float]:
    """Exact quantiles of all inter-token gaps (the smallest gap that at least this share of gaps does not exceed), seconds.

    A segment of `count` gaps first, first + slope, ... seen by `weight` requests each is never expanded: bisection on
    the value counts the gaps below it in closed form.
    """
    total = float((gaps["count"] * gaps["weight"]).sum())
    if not total:
        return [float("nan")] * len(levels)
    first, slope, count, weight = (gaps[c].astype(np.float64) for c in ("first", "slope", "count", "weight"))
    last = first + slope * (count - 1)

    def below(value: float) -> float:
        rising = np.floor((value - first) / np.where(slope > 0, slope, 1.0) + 1 + 1e-9)
        covered = np.where(value >= last, count, np.where(value < first, 0.0, np.clip(rising, 0, count)))
        return float((covered * weight).sum())

    return [_bisect(below, float(first.min()), float(last.max()), level * total) for level in levels]


def _bisect(below: object, low: float, high: float, wanted: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        if below(middle) >= wanted:  # type: ignore[operator]
            high = middle
        else:
            low = middle
    return high


def _described(name: str, values: Floats) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {f"{name}_{key}": float("nan") for key in ("mean", *LEVELS)}
    quantiles = np.quantile(known, list(LEVELS.values()))
    return {f"{name}_mean": float(known.mean())} | {
        f"{name}_{k}": float(q) for k, q in zip(LEVELS, quantiles, strict=True)
    }


def _gaps(run: Run) -> dict[str, float]:
    g = run.gaps
    tokens = (g["count"] * g["weight"]).sum()
    spent = (g["weight"] * g["count"] * (g["first"] + g["slope"] * (g["count"] - 1) / 2)).sum()
    quantiles = gap_quantiles(g, list(LEVELS.values()))
    mean = float(spent / tokens) if tokens else float("nan")
    return {"itl_mean": mean} | {f"itl_{k}": q for k, q in zip(LEVELS, quantiles, strict=True)}


def _span(run: Run) -> float:
    if not len(run.workload):
        return 0.0
    return float(run.requests["finish"].max() - run.requests["arrival"].min())


def _rates(run: Run) -> dict[str, float]:
    span, w = max(_span(run), 1e-12), run.workload
    gpus = sum(run.fleet.kinds[i].gpus * (end - start) for i, start, end in run.service)
    return {
        "requests": float(len(w)),
        "makespan": span,
        "throughput_rps": len(w) / span,
        "input_tps": float(w.prompt.sum()) / span,
        "output_tps": float(w.output.sum()) / span,
        "output_tokens_per_gpu_second": float(w.output.sum()) / max(gpus, 1e-12),
    }


def _fleet(run: Run) -> dict[str, float]:
    span = max(_span(run), 1e-12)
    paid = sum(end - start for _, start, end in run.service)
    down = run.requests["downtime"][run.requests["migrations"] > 0]
    return {
        "preemptions": float(run.requests["preemptions"].sum()),
        "migrations": float(run.counts["migrations"]),
        "migrations_aborted": float(run.counts["aborted_source"] + run.counts["aborted_target"]),
        "migrated_bytes": float(run.counts["migrated_bytes"]),
        "downtime_mean": float(down.mean()) if len(down) else 0.0,
        "instances_mean": paid / span,
        "gpu_hours": sum(run.fleet.kinds[i].gpus * (end - start) for i, start, end in run.service) / 3600,
        "busy_share": float(run.counts["busy"]) / max(paid, 1e-12),
    }


def _memory(run: Run) -> dict[str, float]:
    usage = run.load["kv_usage"]
    return {
        "kv_usage_mean": float(usage.mean()) if len(usage) else 0.0,
        "kv_usage_max": float(usage.max()) if len(usage) else 0.0,
        "prefix_hit_rate": float(run.counts["tokens_saved"]) / max(float(run.workload.prompt.sum()), 1.0),
        "prefix_evictions": float(run.counts["evictions"]),
    }
