"""Three small tasks; many runs, of one seed, are trained side by side.

Within a run, the gradient norms of the two logistic regressions vary 40- to 80-fold, much of it from batch to batch (about 6-fold
in the mean of six runs). Those of the character model vary only 1.5-fold (1.3-fold in the mean), so that refinement has little to
work on there. Every run of a seed has the same start and the same batches; runs differ in schedule and base rate only. Parameters
carry the runs in their first dimension, and no run sees another.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from rota.core.errors import optional
from rota.core.seeds import stream
from rota.training.gradnorms import GradNormRecorder
from rota.training.norm_file import NormRecord
from rota.training.schedule import Floats, Schedule

Batch = tuple[Any, Any]
Pair = tuple[Schedule, float]
"""A schedule and its base rate."""
Held = Literal["validation", "test"]

BETAS, EPSILON = (0.9, 0.99), 1e-8


class Task(ABC):
    """A model, its data and its optimiser; `power` is what refinement takes for that optimiser.

    Args:
        steps: of each run.
    """

    power: ClassVar[int]
    rates: ClassVar[tuple[float, ...]]
    words: ClassVar[str]

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.torch = optional("torch")

    @abstractmethod
    def start(self, runs: int, seed: int) -> list[Any]:
        """Parameters, (runs, ...) each."""

    @abstractmethod
    def batches(self, seed: int) -> Iterable[Batch]:
        """Training batches, one for each step."""

    @abstractmethod
    def held_out(self, seed: int, held: Held) -> Batch:
        """What the final iterate is measured on: to tune (`validation`) or to judge (`test`)."""

    @abstractmethod
    def loss(self, parameters: list[Any], batch: Batch) -> Any:
        """(runs,) mean losses."""

    def losses(self, pairs: Sequence[Pair], seed: int, held: Held = "test") -> Floats:
        """(pairs,) losses of the last iterates on held-out data; NaN for a run that diverged."""
        return self._train(pairs, seed, held, None)

    def record(self, schedule: Schedule, rate: float, seed: int) -> NormRecord:
        """Gradient norms of a run."""
        recorders: list[GradNormRecorder] = []
        self._train([(schedule, rate)], seed, "validation", recorders)
        return recorders[0].result()

    def _train(self, pairs: Sequence[Pair], seed: int, held: Held, recorders: list[GradNormRecorder] | None) -> Floats:
        torch = self.torch
        rates = torch.tensor(np.array([rate * shape.table(self.steps) for shape, rate in pairs]), dtype=torch.float32)
        parameters = [p.requires_grad_() for p in self.start(len(pairs), seed)]
        step_of = Adam(parameters) if self.power == 1 else descend
        if recorders is not None:
            recorders.append(GradNormRecorder(parameters, self.steps))
        for step, batch in enumerate(self.batches(seed)):
            for p in parameters:
                p.grad = None
            self.loss(parameters, batch).sum().backward()
            if recorders is not None:
                recorders[0].record()
            with torch.no_grad():
                step_of(parameters, rates[:, step])
        with torch.no_grad():
            found = self.loss(parameters, self.held_out(seed, held)).double()
        return np.where(np.isfinite(found.numpy()), found.numpy(), np.nan)


class ZipfLogistic(Task):
    """Logistic regression on bags of words with Zipf's law; labels without noise, so that gradients fade. One pass over the data."""

    power = 2
    rates = tuple(2.0 ** (k / 2) for k in range(4, 19))
    words = "2,000 words, Zipf exponent 1.1, batches of 16 bags of 20, labels without noise: norms fade with the loss"
    DIMENSION, WORDS, BATCH, JUDGED = 2000, 20, 16, 4000

    def start(self, runs: int, seed: int) -> list[Any]:
        """All 0."""
        return [self.torch.zeros(runs, self.DIMENSION)]

    def batches(self, seed: int) -> Iterable[Batch]:
        """Fresh bags for each step."""
        draws = stream(seed, "zipf", "training")
        return (self._bags(seed, draws, self.BATCH) for _ in range(self.steps))

    def held_out(self, seed: int, held: Held) -> Batch:
        """4,000 fresh bags, other ones for each use; every seed has labels of its own."""
        return self._bags(seed, stream(seed, "zipf", held), self.JUDGED)

    def loss(self, parameters: list[Any], batch: Batch) -> Any:
        """log(1 + exp(-label x score))."""
        bags, labels = batch
        scores = parameters[0] @ bags.T
        return self.torch.nn.functional.softplus(-labels * scores).mean(1)

    def _bags(self, seed: int, draws: np.random.Generator, count: int) -> Batch:
        share = np.arange(1, self.DIMENSION + 1) ** -1.1
        words = np.searchsorted(np.cumsum(share / share.sum()), draws.random((count, self.WORDS)))
        bags = np.zeros((count, self.DIMENSION), np.float32)
        rows = np.repeat(np.arange(count), self.WORDS)
        np.add.at(bags, (rows, np.minimum(words, self.DIMENSION - 1).ravel()), self.WORDS**-0.5)
        truth = stream(seed, "zipf", "truth").standard_normal(self.DIMENSION).astype(np.float32)
        labels = np.where(bags @ truth >= 0, 1.0, -1.0).astype(np.float32)
        return self.torch.from_numpy(bags), self.torch.from_numpy(labels)


class ZipfAdam(ZipfLogistic):
    """The same, learnt by Adam."""

    power = 1
    rates = tuple(2.0 ** (k / 2) * 1e-2 for k in range(15))


class CharacterModel(Task):
    """The next character from the eight before it: embedding, one hidden layer, softmax; on the help texts that Python ships."""

    power = 1
    rates = tuple(2.0 ** (k / 2) * 1e-3 for k in range(3, 15))
    words = "help texts of Python's standard library, 8 characters of context, 64 hidden units, batches of 32"
    CONTEXT, WIDTH, HIDDEN, BATCH, JUDGED = 8, 8, 64, 32, 4000

    def start(self, runs: int, seed: int) -> list[Any]:
        """Normal, by the square root of the fan-in; biases 0."""
        draws, letters = stream(seed, "char", "start"), int(corpus().max()) + 1
        wide = self.CONTEXT * self.WIDTH
        shapes = ((letters, self.WIDTH), (wide, self.HIDDEN), (self.HIDDEN, letters))
        scales = (1.0, wide**-0.5, self.HIDDEN**-0.5)
        weights = [draws.standard_normal(shape) * scale for shape, scale in zip(shapes, scales, strict=True)]
        made = [*weights, np.zeros((1, self.HIDDEN)), np.zeros((1, letters))]
        return [self.torch.from_numpy(np.repeat(w[None].astype(np.float32), runs, 0)) for w in made]

    def batches(self, seed: int) -> Iterable[Batch]:
        """Random places of the first eight tenths of the text."""
        draws, (first, end) = stream(seed, "char", "training"), self.places("train")
        return (self._windows(draws.integers(first, end, self.BATCH)) for _ in range(self.steps))

    def held_out(self, seed: int, held: Held) -> Batch:
        """4,000 places of the ninth tenth (`validation`) or of the last (`test`)."""
        return self._windows(stream(seed, "char", held).integers(*self.places(held), self.JUDGED))

    def places(self, use: Literal["train", "validation", "test"]) -> tuple[int, int]:
        """First and end of the windows' first characters; a window of `CONTEXT` + 1 characters ends within its part."""
        first, end = {"train": (0, 8), "validation": (8, 9), "test": (9, 10)}[use]
        return len(corpus()) * first // 10, len(corpus()) * end // 10 - self.CONTEXT

    def loss(self, parameters: list[Any], batch: Batch) -> Any:
        """Cross-entropy, in nats."""
        embedding, into, out, bias, last = parameters
        before, after = batch
        hidden = self.torch.tanh(self.torch.baddbmm(bias, embedding[:, before].flatten(2), into))
        logs = self.torch.log_softmax(self.torch.baddbmm(last, hidden, out), 2)
        return -logs[:, self.torch.arange(len(after)), after].mean(1)

    def _windows(self, at: np.ndarray) -> Batch:
        seen = self.torch.from_numpy(corpus()[at[:, None] + np.arange(self.CONTEXT + 1)])
        return seen[:, :-1], seen[:, -1]


class Adam:
    """Adam, with a rate for each run: `rates` is (runs,)."""

    def __init__(self, parameters: list[Any]) -> None:
        self.torch = optional("torch")
        self.means = [self.torch.zeros_like(p) for p in parameters]
        self.squares = [self.torch.zeros_like(p) for p in parameters]
        self.count = 0

    def __call__(self, parameters: list[Any], rates: Any) -> None:
        """One step, in place."""
        self.count += 1
        first, second = (1 - beta**self.count for beta in BETAS)
        for p, mean, square in zip(parameters, self.means, self.squares, strict=True):
            mean.lerp_(p.grad, 1 - BETAS[0])
            square.lerp_(p.grad * p.grad, 1 - BETAS[1])
            p -= _wide(rates, p) / first * mean / ((square / second).sqrt_() + EPSILON)


def descend(parameters: list[Any], rates: Any) -> None:
    """One step of gradient descent, in place, with a rate for each run: `rates` is (runs,)."""
    for p in parameters:
        p -= _wide(rates, p) * p.grad


def _wide(rates: Any, parameter: Any) -> Any:
    return rates.reshape(-1, *[1] * (parameter.ndim - 1))


@cache
def corpus() -> np.ndarray:
    """(n,) characters of Python's help texts as codes: the 60 most frequent, and one for all others."""
    topics = importlib.import_module("pydoc_data.topics").topics
    text = np.array([ord(c) for c in "".join(topics[name] for name in sorted(topics))])
    letters, counts = np.unique(text, return_counts=True)
    codes = np.full(int(letters.max()) + 1, 60)
    codes[letters[np.argsort(-counts, kind="stable")[:60]]] = np.arange(60)
    return codes[text]
