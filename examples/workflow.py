"""Requests that wait for others: an agent that plans, calls three tools at once, and puts their answers together.

A row with a `parent` arrives `think` seconds after that request, and all that it joins, have ended, so a slow fleet also slows what
is asked of it.

python examples/workflow.py [tasks]
"""

import sys

import numpy as np

import rota
from rota.serving.presets import preset
from rota.serving.run import Run

STEPS = ("plan", "tool", "tool", "tool", "answer")
PARENT = (-1, 0, 0, 0, 3)
JOINS = ((4, 1), (4, 2))  # the answer waits for the other two calls as well
PROMPT = (600, 900, 900, 900, 2400)
OUTPUT = (150, 80, 80, 120, 400)
THINK = (0.0, 0.2, 0.2, 1.5, 0.1)  # seconds that the tools take


def agents(tasks: int, rate: float, seed: int = 0) -> rota.Workload:
    """`tasks` tasks of five requests each, `rate` tasks a second (Poisson)."""
    begin = np.random.default_rng(seed).exponential(1 / rate, tasks).cumsum()
    first = len(STEPS) * np.repeat(np.arange(tasks), len(STEPS))
    parent = np.tile(PARENT, tasks)
    joins = len(STEPS) * np.arange(tasks)[:, None, None] + np.array(JOINS)
    return rota.Workload.of(
        np.repeat(begin, len(STEPS)), np.tile(PROMPT, tasks), np.tile(OUTPUT, tasks), name="agents",
        parent=np.where(parent < 0, -1, first + parent), joins=joins.reshape(-1, 2), think=np.tile(THINK, tasks),
        session=first // len(STEPS), turn=np.tile(np.arange(len(STEPS)), tasks),
    )  # fmt: skip


def task_seconds(run: Run) -> np.ndarray:
    """From the arrival of a task's first request to the end of its last, for every task."""
    finish = run.requests["finish"].reshape(-1, len(STEPS))
    return finish.max(axis=1) - run.requests["arrival"].reshape(-1, len(STEPS))[:, 0]


if __name__ == "__main__":
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for instances in (2, 3, 4):
        fleet = rota.Fleet.of(preset("llama-3-8b/a100"), instances)
        run = rota.simulate(fleet, agents(tasks, rate=4.0), {"dispatch": "least-requests"})
        run.check()
        p50, p99 = np.quantile(task_seconds(run), (0.5, 0.99))
        print(f"{instances} instances: a task takes {p50:.1f} s (P99 {p99:.1f} s)")
