"""What do schedules and the gradient-norm recorder cost a step? `python benchmarks/lr_overhead.py [--json] [--steps 1000]`.

First the step of each scheduler alone, on an optimiser with two groups, in rounds that take turns, so that other work on the machine
meets them all; the least of the rounds counts. Then the adapter and the recorder as shares of real training steps: an MLP and a
small transformer, each with Adam; their cost is timed within the very loop that trains. All times are processor times, on one core.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
from collections.abc import Callable
from time import process_time
from typing import Any

import torch
from rows import Row, show
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, SequentialLR

from rota.training.adapters.torch import ScheduledLR

TORCH = f"torch {importlib.metadata.version('torch')}"
SPECS = ("linear()", "cosine()", "warmup(0.05) >> rex()", "(warmup(0.05) >> cosine()).floor(0.1)")
SPEC = "warmup(0.05) >> cosine()"
ROUNDS = 61
Hooks = tuple[Callable[[], Any], Callable[[], Any]]
"""What runs before, and what after the optimiser's step."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=1000, help="steps a round")
    told = parser.parse_args()
    torch.set_num_threads(1)
    show([*against_peers(told.steps), *shapes(told.steps), *shares()], told.json)


def against_peers(steps: int) -> list[Row]:
    """Cost of a step over that of PyTorch's schedulers, and over a plain loop that assigns a closed form."""
    costs = least_costs({"ours": ours(SPEC), **PEERS}, steps)
    detail = f"warm-up and cosine: ours {1e6 * costs['ours']:.2f} µs a step, theirs"
    goals = {
        "a plain loop": "",
        "LambdaLR": "<= 2",
        "CosineAnnealingLR": "<= 2",
        "OneCycleLR": "<= 2",
        "SequentialLR": "<= 2",
    }
    return [
        row("cost of a step of ScheduledLR", f"{name} ({TORCH})", costs["ours"] / costs[name], goals[name],
            f"{detail} {1e6 * costs[name]:.2f} µs")
        for name in PEERS
    ]  # fmt: skip


def shapes(steps: int) -> list[Row]:
    """Cost of a step by the schedule, over that of `constant()`: factors are worked out in blocks, so it hardly matters."""
    costs = least_costs({spec: ours(spec) for spec in ("constant()", *SPECS)}, steps)
    worst = max(SPECS, key=costs.__getitem__)
    detail = ", ".join(f"{spec} {1e6 * cost:.2f} µs" for spec, cost in costs.items())
    return [row("cost of the dearest schedule", "constant()", costs[worst] / costs["constant()"], "<= 2", detail)]


def shares() -> list[Row]:
    """Adapter and recorder as shares of real training steps."""
    parts = {"ScheduledLR": adapter, "GradNormRecorder": recorder(1), "GradNormRecorder(every=10)": recorder(10)}
    models = {"MLP of 0.8 M weights, batch 128": mlp, "transformer of 0.8 M weights, 8 x 64 tokens": transformer}
    return [share(what, name, build, wrap) for name, build in models.items() for what, wrap in parts.items()]


def share(what: str, name: str, build: Callable[[], Any], wrap: Callable[[Any, Any, int], Hooks]) -> Row:
    """Mean time that a part takes within the steps, over the median of the rest of the step."""
    question, steps, warm = f"{what}'s share of a training step", 300, 20
    model, loss = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    try:
        before, after = wrap(model, optimizer, steps)
    except ImportError as error:
        return Row(question, name, None, "%", "<= 1", None, f"not there yet: {error}")
    whole, own = [], []
    for _ in range(steps):
        begun = process_time()
        optimizer.zero_grad()
        loss().backward()
        taken = took(before)
        optimizer.step()
        own.append(taken + took(after))
        whole.append(process_time() - begun - own[-1])
    step, cost = median(whole[warm:]), sum(own[warm:]) / (steps - warm)
    detail = f"mean {1e6 * cost:.1f} µs (median {1e6 * median(own[warm:]):.1f}) of {1e3 * step:.2f} ms, {steps} steps, one core"
    return row(question, name, 100 * cost / step, "<= 1", detail, "%")


def took(call: Callable[[], Any]) -> float:
    begun = process_time()
    call()
    return process_time() - begun


def nothing() -> None:
    """Stands where a part has nothing to do."""


def adapter(model: Any, optimizer: Any, steps: int) -> Hooks:
    return nothing, ScheduledLR(optimizer, SPEC, steps).step


def recorder(every: int) -> Callable[[Any, Any, int], Hooks]:
    def wrap(model: Any, optimizer: Any, steps: int) -> Hooks:
        from rota.training.gradnorms import GradNormRecorder

        return GradNormRecorder(model.parameters(), steps, every=every).record, nothing

    return wrap


def mlp() -> tuple[Any, Callable[[], Any]]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 768), torch.nn.ReLU(), torch.nn.Linear(768, 10)
    )
    x, y = torch.randn(128, 784), torch.randint(10, (128,))
    return model, lambda: torch.nn.functional.cross_entropy(model(x), y)


def transformer() -> tuple[Any, Callable[[], Any]]:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
    body = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    model = torch.nn.Sequential(torch.nn.Embedding(128, 128), body, torch.nn.Linear(128, 128))
    tokens = torch.randint(128, (8, 65))
    return model, lambda: torch.nn.functional.cross_entropy(
        model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
    )


def ours(spec: str) -> Callable[[Any, int], Callable[[], Any]]:
    return lambda optimizer, steps: ScheduledLR(optimizer, spec, steps).step


def plain(optimizer: Any, steps: int) -> Callable[[], None]:
    """What one writes without a scheduler."""
    bases, at = [group["lr"] for group in optimizer.param_groups], 0

    def step() -> None:
        nonlocal at
        at += 1
        factor = 0.5 + 0.5 * math.cos(math.pi * at / steps)
        for group, base in zip(optimizer.param_groups, bases, strict=True):
            group["lr"] = base * factor

    return step


def sequential(optimizer: Any, steps: int) -> Callable[[], Any]:
    up = max(1, steps // 20)
    parts = [LinearLR(optimizer, 1e-3, 1.0, up), CosineAnnealingLR(optimizer, steps - up)]
    return SequentialLR(optimizer, parts, [up]).step


PEERS: dict[str, Callable[[Any, int], Callable[[], Any]]] = {
    "a plain loop": plain,
    "LambdaLR": lambda o, n: LambdaLR(o, lambda t: 0.5 + 0.5 * math.cos(math.pi * t / n)).step,
    "CosineAnnealingLR": lambda o, n: CosineAnnealingLR(o, n).step,
    "OneCycleLR": lambda o, n: OneCycleLR(o, 0.1, total_steps=n + 1, cycle_momentum=False).step,
    "SequentialLR": sequential,
}


def least_costs(made: dict[str, Callable[[Any, int], Callable[[], Any]]], steps: int) -> dict[str, float]:
    """Seconds a step of each, the least of `ROUNDS` rounds that take turns."""
    costs = dict.fromkeys(made, math.inf)
    for _ in range(ROUNDS):
        for name, make in made.items():
            weights = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
            optimizer = torch.optim.SGD(weights, lr=0.1)
            step = make(optimizer, steps)
            optimizer.step()
            begun = process_time()
            for _ in range(steps):
                step()
            costs[name] = min(costs[name], (process_time() - begun) / steps)
    return costs


def row(question: str, against: str, value: float, goal: str, detail: str, unit: str = "x") -> Row:
    if goal:
        return Row.judged(question, against, value, unit, goal, detail)
    return Row(question, against, float(f"{value:.4g}"), unit, "", None, detail)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
