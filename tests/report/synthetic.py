"""Made-up results and timelines, with names that try to break a page."""

from __future__ import annotations

import numpy as np

from rota.core.results import Results, Row
from rota.core.timeline import Timeline

EVIL = "<img src=x onerror=alert(1)></script>&"
NAME = "made <b>up</b>"
POLICIES = {"round-robin": 1.0, "least-load": 0.8, "freeness": 0.5}
KINDS = ("queued", "prefill", "decode", "preempted")


def results(policies=None, groups=(("burst", "16 x llama-7b/a10"), ("steady", EVIL)), seeds=5, n=2000):
    rows = [
        row({"workload": workload, "fleet": fleet, "policies": name, "seed": seed}, factor, seed, n)
        for workload, fleet in groups
        for name, factor in (policies or POLICIES).items()
        for seed in range(seeds)
    ]
    versions = {"rota": "0.1.0"}
    return Results(NAME, rows, {"study": NAME, "seeds": list(range(seeds)), "versions": versions, "platform": "here"})


def row(labels, factor, seed, n):
    rng = np.random.default_rng(seed)
    ttft = factor * rng.lognormal(-1.5, 1.2, n)
    tpot = 0.03 * factor**0.2 * rng.lognormal(0, 0.2, n)
    e2e = ttft + tpot * rng.lognormal(5, 1, n)
    time = np.linspace(0, 600, 900)
    running = np.clip(80 * factor * (1 + np.sin(time / 60 + seed)) + rng.normal(0, 4, 900), 0, None)
    metrics = {
        "ttft_mean": ttft.mean(),
        "ttft_p99": np.quantile(ttft, 0.99),
        "tpot_p95": np.quantile(tpot, 0.95),
        "e2e_mean": e2e.mean(),
        "preemption_loss_mean": factor * 0.3 + 0.02 * rng.random(),
        "output_tps": 3000 / factor**0.1,
        "migrations": float("nan"),
    }
    curves = {name: cdf(values) for name, values in (("ttft", ttft), ("tpot", tpot), ("e2e", e2e))}
    loads = {"load": running / 200, "running": running, "waiting": np.maximum(running - 90, 0)}
    curves |= {name: {"x": time.tolist(), "y": values.tolist()} for name, values in loads.items()}
    return Row(labels, {k: float(v) for k, v in metrics.items()}, curves, 0.5)


def cdf(values):
    q = np.concatenate([np.linspace(0, 0.99, 100), [0.999, 1.0]])
    return {"x": np.quantile(values, q).tolist(), "y": q.tolist()}


def timeline(n=300, resources=4, seed=0, kinds=KINDS):
    rng = np.random.default_rng(seed)
    start, kind = np.sort(rng.uniform(0, 600, n)), rng.integers(0, len(kinds), n)
    length = rng.exponential(1, n) * np.array([1, 0.4, 12, 0.5])[kind % 4]
    tasks, places = [f"request {i}" for i in range(n)], [f"instance-{i}" for i in range(resources)]
    resource = rng.integers(0, resources, n)
    return Timeline(np.arange(n), resource, kind, start, start + length, tasks, places, kinds)
