"""Functions that the studies of the tests run."""

import os
import signal
import time

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.core.study import Cell

HERE = "study_cells"


def draw(spec):
    """Seeded numbers: metrics, and a curve given as arrays."""
    draws = stream(spec["seed"], "draw").normal(spec["mean"], 1.0, 50)
    x = np.sort(draws)
    return {
        "metrics": {"mean": draws.mean(), "count": np.int64(len(draws)), "worst": float("nan")},
        "curves": {"cdf": {"x": x, "y": np.arange(1, 51) / 50}},
    }


def slow(spec):
    """Leaves a mark each time it begins, and takes its time."""
    with open(spec["marks"], "a") as marks:
        marks.write(f"{spec['seed']}\n")
    time.sleep(spec["seconds"])
    return {"metrics": {"seed": spec["seed"]}}


def deaf(spec):
    """Whether Ctrl-C is ignored where the cell runs."""
    return {"metrics": {"deaf": float(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)}}


def fails(spec):
    """Fails for one seed, in one of several ways."""
    if spec["seed"] == 3:
        if spec["how"] == "user":
            raise InputError("fleet.toml:3", "0 instances", "at least 1")
        if spec["how"] == "defect":
            raise ZeroDivisionError("a defect")
        os._exit(9)
    return {"metrics": {"ok": 1.0}}


def cells(mean=(0.0, 3.0), seeds=5):
    """Two policies by seeds."""
    names = ["round-robin", "freeness"]
    return [
        Cell({"policy": name, "seed": seed}, {"mean": m, "seed": seed})
        for name, m in zip(names, mean, strict=True)
        for seed in range(seeds)
    ]


def slow_cells(marks, seconds):
    """Eight cells that leave marks."""
    return [Cell({"seed": s}, {"seed": s, "seconds": seconds, "marks": str(marks)}) for s in range(8)]
