"""Small real learning tasks, and a training loop in NumPy that trains many models at once: seeds x learning-rate tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import optional
from rota.core.seeds import stream

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
Weights = list[Singles]
Held = Literal["validation", "test"]

BATCH = 32
DECAY = 5e-4
"""Weight decay, added to the gradient."""
MOMENTUM = 0.9
ADAM = (0.9, 0.999, 1e-8)
WORSE = 10
"""A diverged run counts as so many times the worst loss beside it."""

DATA = {"digits": 32, "breast_cancer": 0, "diabetes": 16}
"""Data sets that scikit-learn ships, and the hidden units of their network (0: a linear model)."""


@dataclass(frozen=True)
class Task:
    """A data set and a network of one hidden layer.

    Attributes:
        x: (n, features) standardised.
        y: (n, outputs) classes one-hot, or (n, 1) a standardised figure.
        hidden: units of the hidden layer; 0: none, a linear model.
        classes: cross-entropy if true, else half the squared error.
    """

    name: str
    x: Singles
    y: Singles
    hidden: int
    classes: bool

    def split(self, seed: int) -> dict[str, NDArray[np.intp]]:
        """Rows by use: a quarter, the same for every seed, is `test`; of the rest a fifth is `validation`, drawn by the seed."""
        order = stream(0, "rex", self.name, "test").permutation(len(self.x))
        test, rest = np.split(order, [len(order) // 4])
        rest = stream(seed, "rex", self.name, "validation").permutation(rest)
        validation, train = np.split(rest, [len(rest) // 5])
        return {"train": train, "validation": validation, "test": test}


def load(name: str) -> Task:
    """The task `name` of `DATA`."""
    data = getattr(optional("sklearn.datasets"), f"load_{name}")()
    spread = data.data.std(axis=0)
    x = (data.data - data.data.mean(axis=0)) / np.where(spread > 0, spread, 1)
    classes = hasattr(data, "target_names")
    y = np.eye(data.target.max() + 1)[data.target] if classes else (data.target - data.target.mean())[:, None]
    return Task(name, x.astype(np.float32), (y if classes else y / y.std()).astype(np.float32), DATA[name], classes)


def train(task: Task, optimiser: str, rates: Floats, seeds: Sequence[int], held: Held) -> Floats:
    """Train one model a seed and row of `rates`; all rows of a seed begin alike and see the same batches.

    Args:
        task: what to learn.
        optimiser: `sgd` (with momentum) or `adam`.
        rates: (models, steps) the learning rate of every step.
        seeds: of the initial weights, the batches, and the rows that are trained on.
        held: the rows that judge.

    Returns:
        (seeds, models) loss on the held rows after the last step; infinite where training diverged.
    """
    splits = [task.split(seed) for seed in seeds]
    batches = np.stack(
        [_batches(task, seed, s["train"], rates.shape[1]) for seed, s in zip(seeds, splits, strict=True)]
    )
    weights = _initial(task, seeds, len(rates))
    moments = [[np.zeros_like(w) for w in weights] for _ in range(2)]
    with np.errstate(all="ignore"):
        for step, rate in enumerate(rates.T.astype(np.float32)):
            rows = batches[:, step]
            slopes = _slopes(task, weights, task.x[rows], task.y[rows])
            _move(optimiser, weights, slopes, moments, rate[:, None, None], step + 1)
        rows = np.stack([s[held] for s in splits])
        losses = _loss(task, _outputs(weights, task.x[rows])[-1], task.y[rows])
    return np.where(np.isfinite(losses), losses, np.inf)


def capped(losses: Floats) -> Floats:
    """`losses`, in which NaN and infinity become `WORSE` times the highest of the others (1 if there are no others)."""
    known = np.isfinite(losses)
    return np.where(known, losses, WORSE * losses[known].max() if known.any() else 1.0)


def diverged(losses: Sequence[Floats]) -> str:
    """How many of the runs diverged (their losses are NaN or infinite), and what becomes of them, in words."""
    count = sum(int((~np.isfinite(found)).sum()) for found in losses)
    capping = f" and count as {WORSE} times the worst loss beside them" if count else ""
    return f"{count} of {sum(found.size for found in losses)} judged runs diverged{capping}"


def _batches(task: Task, seed: int, rows: NDArray[np.intp], steps: int) -> NDArray[np.intp]:
    """(steps, BATCH) rows: every epoch in a new order."""
    random = stream(seed, "rex", task.name, "batches")
    epochs = [random.permutation(rows) for _ in range(steps * BATCH // len(rows) + 1)]
    return np.concatenate(epochs)[: steps * BATCH].reshape(steps, BATCH)


def _initial(task: Task, seeds: Sequence[int], models: int) -> Weights:
    """Matrices (seeds, models, in, out) and biases (seeds, models, 1, out), layer by layer."""
    widths = [task.x.shape[1], *([task.hidden] if task.hidden else []), task.y.shape[1]]
    weights = []
    for wide, narrow in pairwise(widths):
        drawn = [
            stream(seed, "rex", task.name, "weights", wide).normal(size=(wide, narrow)) / np.sqrt(wide)
            for seed in seeds
        ]
        weights.append(np.repeat(np.stack(drawn)[:, None], models, axis=1).astype(np.float32))
        weights.append(np.zeros((len(seeds), models, 1, narrow), np.float32))
    return weights


def _outputs(weights: Weights, x: Singles) -> list[Singles]:
    """What goes into each layer, and what comes out of the last; (seeds, 1 or models, rows, width)."""
    found = [x[:, None]]
    for matrix, bias in zip(weights[::2], weights[1::2], strict=True):
        last = len(found) == len(weights) // 2
        out = found[-1] @ matrix + bias
        found.append(out if last else np.tanh(out))
    return found


def _slopes(task: Task, weights: Weights, x: Singles, y: Singles) -> Weights:
    """Gradient of the mean loss over a batch, and weight decay on the matrices."""
    inputs = _outputs(weights, x)
    out = inputs.pop()
    error = ((_softmax(out) if task.classes else out) - y[:, None]) / np.float32(x.shape[1])
    slopes: Weights = []
    for layer in reversed(range(len(inputs))):
        matrix = weights[2 * layer]
        slopes[:0] = [
            inputs[layer].swapaxes(-1, -2) @ error + np.float32(DECAY) * matrix,
            error.sum(axis=-2, keepdims=True),
        ]
        if layer:
            error = (error @ matrix.swapaxes(-1, -2)) * (1 - inputs[layer] ** 2)
    return slopes


def _move(optimiser: str, weights: Weights, slopes: Weights, moments: list[Weights], rate: Singles, step: int) -> None:
    """One step of the optimiser, in place."""
    first, second, least = (np.float32(x) for x in ADAM)
    for weight, slope, mean, square in zip(weights, slopes, *moments, strict=True):
        if optimiser == "sgd":
            mean *= np.float32(MOMENTUM)
            mean += slope
            weight -= rate * mean
            continue
        mean += (1 - first) * (slope - mean)
        square += (1 - second) * (slope * slope - square)
        weight -= rate * (mean / (1 - first**step)) / (np.sqrt(square / (1 - second**step)) + least)


def _softmax(out: Singles) -> Singles:
    grown = np.exp(out - out.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True))


def _loss(task: Task, out: Singles, y: Singles) -> Floats:
    """(seeds, models) mean loss."""
    out = out.astype(np.float64)
    if not task.classes:
        return np.asarray(((out - y[:, None]) ** 2).sum(axis=-1).mean(axis=-1) / 2)
    top = out.max(axis=-1, keepdims=True)
    spread = np.log(np.exp(out - top).sum(axis=-1)) + top[..., 0]
    return np.asarray((spread - (out * y[:, None]).sum(axis=-1)).mean(axis=-1))
