"""How the step-cost constants of `llama-7b/a10` stand to Llumnix's Figure 11, and how to refine them.

    python benchmarks/fit_llumnix.py [--rounds 0] [--seeds 4]

The constants were tuned by hand, after a Nelder-Mead search, to the request means at the rates in `FITTED` (both policies: 12 of 30
points; single points of M-M and S-L were looked at as well). The other 18 points are judged only. `--rounds N` starts a
search of N steps from the shipped constants, on the fitted points alone. Seeds are those from 1000 on; `rota reproduce llumnix`
judges with others. Needs the data folder with `serving/llumnix_paper_figures.csv`.
"""

from __future__ import annotations

import argparse
import csv
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from rota.core.data import data_folder
from rota.serving.model import Fleet, Instance
from rota.serving.presets import preset
from rota.serving.simulate import simulate
from rota.serving.workloads import by_name

TRACES = ("L-L", "L-S", "S-S")
POLICIES = {
    "INFaaS++": {"dispatch": "least-load"},
    "Llumnix": {"dispatch": "freeness", "reschedule": "llumnix"},
}
FITTED = {"L-L": (2.7, 3.0), "L-S": (16.0, 18.0), "S-S": (33.0, 36.0)}
NAMES = ("decode_base", "per_sequence", "per_kv_token", "per_prompt", "token")


def points() -> dict[tuple[str, str, float], dict[str, float]]:
    """Published request and decode means by (trace, policy, rate)."""
    folder = data_folder()
    if folder is None:
        raise SystemExit("the data folder is not here (set ROTA_DATA): nothing to fit to")
    found: dict[tuple[str, str, float], dict[str, float]] = {}
    with open(folder / "serving" / "llumnix_paper_figures.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["figure"] == "11" and row["trace"] in TRACES and row["policy"] in POLICIES:
                found.setdefault((row["trace"], row["policy"], float(row["x"])), {})[row["metric"]] = float(row["y"])
    return dict(sorted(found.items()))


def shipped() -> np.ndarray:
    """The preset's constants, in the order of `NAMES`."""
    cost = preset("llama-7b/a10").cost
    return np.array([cost.decode_base, cost.per_sequence, cost.per_kv_token, cost.per_prompt, cost.seconds[-1]])


def instance(theta: np.ndarray) -> Instance:
    """The preset with other constants."""
    base = preset("llama-7b/a10")
    values = dict(zip(NAMES, theta, strict=True))
    token = values.pop("token")
    return replace(base, cost=replace(base.cost, tokens=(0.0, 1.0), seconds=(0.0, token), **values))


def measure(job: tuple[np.ndarray, tuple[str, str, float], int]) -> tuple[float, float]:
    """Simulated (request mean, decode mean) at one point."""
    theta, (trace, policy, rate), seed = job
    workload = by_name(f"llumnix(trace='{trace}', rate={rate}, n=10000)", seed=seed)
    found = simulate(Fleet.of(instance(theta), 16), workload, POLICIES[policy]).metrics
    return found["e2e_mean"], found["tpot_mean"]


def errors(
    theta: np.ndarray, chosen: dict[tuple[str, str, float], dict[str, float]], seeds: int, pool: ProcessPoolExecutor
) -> np.ndarray:
    """(points, 2) log ratios of simulated to published request and decode means (of the mean over seeds)."""
    jobs = [(theta, key, 1000 + s) for key in chosen for s in range(seeds)]
    found = np.array(list(pool.map(measure, jobs))).reshape(len(chosen), seeds, 2).mean(axis=1)
    paper = np.array([[p["request_mean"], p["decode_mean"]] for p in chosen.values()])
    return np.log(found / paper)


def main() -> None:
    """Fit, then print both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    every = points()
    fitted = {key: value for key, value in every.items() if key[2] in FITTED[key[0]]}
    judged = {key: value for key, value in every.items() if key not in fitted}
    scale = shipped()
    with ProcessPoolExecutor(2) as pool:

        def loss(x: np.ndarray) -> float:
            if (x <= 0).any():
                return 1e3
            e = errors(x * scale, fitted, options.seeds, pool)
            value = float((e[:, 0] ** 2).mean() + 0.25 * (e[:, 1] ** 2).mean())
            print(f"{value:.5f}", dict(zip(NAMES, (x * scale).tolist(), strict=True)), flush=True)
            return value

        best = np.ones(len(scale))
        if options.rounds:
            best = minimize(
                loss, best, method="Nelder-Mead", options={"maxfev": options.rounds, "xatol": 0.01, "fatol": 1e-4}
            ).x
        for name, half in (("fitted", fitted), ("judged", judged)):
            e = errors(best * scale, half, options.seeds, pool)
            for key, (request, decode) in zip(half, np.exp(e), strict=True):
                print(name, *key, f"request x{request:.3f} decode x{decode:.3f}")
    print(dict(zip(NAMES, (best * scale).tolist(), strict=True)))


if __name__ == "__main__":
    main()
