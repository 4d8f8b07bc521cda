"""How far are predicted TTFT and TPOT from measured ones? `python benchmarks/fleet_accuracy.py [TABLE.csv] [--json]`.

The measured rows are the closed-loop tests of `silicon_sample.csv` in aiconfigurator-core 0.12.0 (installed as a peer if no
table is given): 16-bit, aggregated, for the models and GPUs that have a preset here. Half of the rows of each model, GPU,
degree and engine are drawn by seed and used to calibrate; both errors are those of the other half.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import peer
from rows import Row, show

from rota.serving.calibrate import Calibration, Error, calibrate, split
from rota.serving.measurements import LoadTable
from rota.serving.presets import find, presets

MODELS = {
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3-8b",
    "meta-llama/Llama-3.1-70B": "llama2-70b",
    "Qwen/Qwen3-32B": "qwen3-32b",
}
GPUS = {"a100_sxm": "a100", "h100_sxm": "h100", "h200_sxm": "h200", "l40s": "l40s"}
AGAINST = "silicon_sample.csv of aiconfigurator-core 0.12.0"


class Group(NamedTuple):
    """What is calibrated together."""

    model: str
    gpu: str
    tp: int
    engine: str

    def __str__(self) -> str:
        return f"{self.model} on {self.tp} x {self.gpu}, {self.engine}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", nargs="?", type=Path, help="silicon_sample.csv; by default that of the peer")
    parser.add_argument("--seeds", type=int, default=1, help="splits into halves, with seeds 0, 1, ...")
    parser.add_argument("--groups", type=int, help="only the first so many groups")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    try:
        path = told.table or silicon_sample()
        tables = measured(path)
    except (peer.NoPeer, OSError, KeyError) as error:
        show([Row("accuracy of TTFT and TPOT", AGAINST, None, "%", "", None, f"not measured: {error}")], told.json)
        return
    chosen = dict(sorted(tables.items())[: told.groups])
    show(report(chosen, told.seeds), told.json)


def silicon_sample() -> Path:
    """The table in the peer's environment."""
    site = peer.python("aiconfigurator").parent.parent / "lib"
    return next(site.glob("python*/site-packages/aiconfigurator_core/systems/silicon_sample.csv"))


def measured(path: Path) -> dict[Group, LoadTable]:
    """The tests of every group, in the order of the file; a group of one is left out."""
    groups = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if (
                row["mode"] == "agg"
                and row["precision"] in ("", "bf16")
                and row["model_path"] in MODELS
                and row["system"] in GPUS
            ):
                cells = [float(row[c]) for c in ("isl", "osl", "batch_size", "silicon_ttft_ms", "silicon_tpot_ms")]
                groups[
                    Group(MODELS[row["model_path"]], GPUS[row["system"]], int(row["tp_size"]), row["backend"])
                ].append(cells)
    columns = {group: np.array(cells).T for group, cells in groups.items() if len(cells) > 1}
    return {
        group: LoadTable(isl, osl, clients, ttft / 1e3, tpot / 1e3)
        for group, (isl, osl, clients, ttft, tpot) in columns.items()
    }


def report(tables: dict[Group, LoadTable], seeds: int) -> list[Row]:
    """Four rows over everything, then two a group."""
    found: dict[Group, list[tuple[dict[str, np.ndarray], dict[str, np.ndarray], Calibration]]] = defaultdict(list)
    for group, table in tables.items():
        for seed in range(seeds):
            found[group].append(judged(group, table, seed))
            print(f"{group}, seed {seed}: done", file=sys.stderr)
    everything = [run for runs in found.values() for run in runs]
    preset = [
        run
        for group, runs in found.items()
        for run in runs
        if f"{group.model}/{group.gpu}" in presets() and group.tp == 1
    ]
    rows = [row for metric in ("ttft", "tpot") for row in errors("all groups", metric, everything)]
    rows += [
        row
        for metric in ("ttft", "tpot")
        if preset
        for row in errors("groups with a fitted preset (one GPU)", metric, preset)
    ]
    return rows + [
        row for group, runs in found.items() for metric in ("ttft", "tpot") for row in errors(str(group), metric, runs)
    ]


def judged(
    group: Group, table: LoadTable, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Calibration]:
    """Relative errors before and after calibration on the half kept aside, by metric, and the calibration."""
    base = find(group.model, group.gpu, group.tp)
    tried = [calibrate(replace(table, spare=spare), base, 0.5, seed) for spare in (0, 1)]
    best = min(tried, key=lambda c: c.misfit)
    aside = split(len(table), 0.5, seed)[1]
    before = table.predict(aside, base)
    return relative(best.measured, before), relative(best.measured, best.predicted), best


def relative(measured: dict[str, np.ndarray], predicted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Predicted over measured, by metric."""
    return {metric: predicted[metric] / measured[metric] for metric in measured}


def errors(
    what: str, metric: str, runs: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray], Calibration]]
) -> list[Row]:
    """Median error before and after calibration, P90 in the detail."""
    engines = {f"{c.instance.prefill} prefill, {c.instance.max_batched_tokens} tokens a step" for _, _, c in runs}
    rows = []
    for label, index in (("not calibrated", 0), ("calibrated", 1)):
        ratio = np.concatenate([run[index][metric] for run in runs])
        error = Error.of(np.ones_like(ratio), ratio)
        engine = f"; found: {', '.join(sorted(engines))}" if index == 1 and len(engines) == 1 else ""
        detail = f"P90 {error.p90:.1%} of {error.rows} held-out rows{engine}"
        rows.append(
            Row(
                f"{what}: median error of {metric.upper()}, {label}",
                AGAINST,
                round(100 * error.median, 1),
                "%",
                "",
                None,
                detail,
            )
        )
    return rows


if __name__ == "__main__":
    main()
