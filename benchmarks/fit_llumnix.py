"""Fit the constants of `llama-7b/a10` to half of the request means of Llumnix's Fig. 11, and report the other half.

    python benchmarks/fit_llumnix.py                 # both halves, under the constants that the package ships
    python benchmarks/fit_llumnix.py --evaluations 90 # fit them anew, from the shipped ones on (about 15 minutes)

The requests are those of the paper (`llumnix(published=True)`); seeds vary the client's milliseconds, which near the knee of a curve
is enough to change a run. The loss is the request mean first, with the time per token and the prefill mean to keep the constants
physical. Memory is not fitted: 785 blocks, what the artifact's profiles were taken with. Needs the data folder with
`serving/llumnix_paper_figures.csv`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
from scipy.optimize import minimize

from rota.core.data import data_folder
from rota.reproduce.llumnix import FITTED, RATES, REPORTS
from rota.serving.model import Fleet, Instance, Workload
from rota.serving.presets import preset
from rota.serving.simulate import simulate
from rota.serving.workloads.llumnix import llumnix

POLICIES = {
    "INFaaS++": {"dispatch": "least-load"},
    "Llumnix": {"dispatch": "freeness", "reschedule": "llumnix"},
}
CONSTANTS = ("decode_base", "per_sequence", "per_kv_token", "per_prompt", "token", "quadratic")
WEIGHTS = {"request_mean": 1.0, "decode_mean": 0.35, "prefill_mean": 0.1}
METRICS = {"request_mean": "e2e_mean", "decode_mean": "tpot_mean", "prefill_mean": "ttft_mean"}
ROBUST = 0.2
"""A log ratio beyond which an error counts linearly: one point that the model cannot reach does not bend all others."""

Point = tuple[str, str, float]


def points() -> dict[Point, dict[str, float]]:
    """Published figures by (trace, policy, rate)."""
    folder = data_folder()
    if folder is None:
        raise SystemExit("the data folder is not here (set ROTA_DATA): nothing to fit to")
    found: dict[Point, dict[str, float]] = {}
    with open(folder / "serving" / "llumnix_paper_figures.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["figure"] == "11" and row["trace"] in RATES and row["policy"] in POLICIES:
                found.setdefault((row["trace"], row["policy"], float(row["x"])), {})[row["metric"]] = float(row["y"])
    return dict(sorted(found.items()))


def shipped() -> np.ndarray:
    """The preset's constants, in the order of `CONSTANTS`."""
    cost = preset("llama-7b/a10").cost
    return np.array(
        [cost.decode_base, cost.per_sequence, cost.per_kv_token, cost.per_prompt, cost.seconds[-1], cost.quadratic]
    )


def instance(theta: np.ndarray) -> Instance:
    """The preset with other constants."""
    base = preset("llama-7b/a10")
    values = dict(zip(CONSTANTS, theta.tolist(), strict=True))
    token = values.pop("token")
    return replace(base, cost=replace(base.cost, tokens=(0.0, 1.0), seconds=(0.0, token), **values))


@cache
def requests(trace: str, rate: float, seed: int) -> Workload:
    """The paper's requests, with the client's delays of one seed."""
    return llumnix(trace, rate, published=True, seed=seed)


def measure(job: tuple[np.ndarray, Point, int]) -> list[float]:
    """Simulated figures at one point, in the order of `WEIGHTS`."""
    theta, (trace, policy, rate), seed = job
    found = simulate(Fleet.of(instance(theta), 16, **REPORTS), requests(trace, rate, seed), POLICIES[policy]).metrics
    return [found[METRICS[name]] for name in WEIGHTS]


def errors(
    theta: np.ndarray, chosen: Mapping[Point, Mapping[str, float]], seeds: Sequence[int], pool: ProcessPoolExecutor
) -> np.ndarray:
    """(points, figures) log ratios of simulated to published, mean over seeds."""
    jobs = [(theta, point, seed) for point in chosen for seed in seeds]
    found = np.array(list(pool.map(measure, jobs, chunksize=len(seeds)))).reshape(len(chosen), len(seeds), -1)
    paper = np.array([[figures[name] for name in WEIGHTS] for figures in chosen.values()])
    return np.log(found / paper[:, None]).mean(axis=1)


def main() -> None:
    """Fit if asked to, then print both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    every = points()
    fitted = {point: figures for point, figures in every.items() if point[2] in FITTED[point[0]]}
    judged = {point: figures for point, figures in every.items() if point not in fitted}
    seeds, weights = range(1000, 1000 + options.seeds), np.array(list(WEIGHTS.values()))
    best = np.log(shipped())
    with ProcessPoolExecutor(2) as pool:

        def loss(x: np.ndarray) -> float:
            scaled = errors(np.exp(x), fitted, seeds, pool) * weights / ROBUST
            value = float((np.sqrt(1 + scaled**2) - 1).sum() * ROBUST**2)
            print(f"{value:.5f}", dict(zip(CONSTANTS, np.exp(x).round(9).tolist(), strict=True)), flush=True)
            return value

        if options.evaluations:
            steps = np.array([0.02, 0.1, 0.06, 0.3, 0.06, 0.2])
            simplex = np.vstack([best, best + np.diag(steps)])
            limits = {"initial_simplex": simplex, "maxfev": options.evaluations, "xatol": 0.005, "fatol": 1e-4}
            best = minimize(loss, best, method="Nelder-Mead", options=limits).x
        for name, half in (("fitted", fitted), ("judged", judged)):
            for point, ratios in zip(half, np.exp(errors(np.exp(best), half, seeds, pool)), strict=True):
                print(name, *point, *(f"{figure} x{ratio:.3f}" for figure, ratio in zip(WEIGHTS, ratios, strict=True)))
    print(dict(zip(CONSTANTS, np.exp(best).tolist(), strict=True)))


if __name__ == "__main__":
    main()
