"""The joint law of prompt and output lengths: quantiles of the prompt, and of the output given the prompt."""

from __future__ import annotations

import msgspec
import numpy as np

from rota.serving.model import Floats, Ints

BINS = 8
TAIL = (0.99, 0.995, 0.998, 0.999, 0.9995)
PROMPT_LEVELS = np.union1d(np.linspace(0, 1, 257), TAIL)
OUTPUT_LEVELS = np.union1d(np.linspace(0, 1, 65), TAIL)
"""Levels of the quantiles kept: equally spaced, and denser in the upper tail, where the tokens are."""


class JointLaw(msgspec.Struct, frozen=True):
    """Prompt quantiles, and output quantiles in bins of the prompt's rank, tokens.

    Attributes:
        prompt: quantiles at `PROMPT_LEVELS`.
        output: for each of the equally weighted bins of the prompt's rank, quantiles at `OUTPUT_LEVELS`.
    """

    prompt: tuple[float, ...]
    output: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, prompt: Ints, output: Ints) -> JointLaw:
        """The law of a trace; fewer bins where there are few requests."""
        bins = int(np.clip(len(prompt) // 100, 1, BINS))
        by_prompt = np.argsort(prompt, kind="stable")
        parts = np.array_split(output[by_prompt], bins)
        return cls(
            _quantiles(prompt, PROMPT_LEVELS),
            tuple(_quantiles(part, OUTPUT_LEVELS) for part in parts),
        )

    def sample(self, rng: np.random.Generator, size: int) -> tuple[Ints, Ints]:
        """(size,) prompts and (size,) outputs, tokens."""
        rank, level = rng.random(size), rng.random(size)
        prompt = _at(self.prompt, PROMPT_LEVELS, rank)
        part = np.minimum((rank * len(self.output)).astype(np.int64), len(self.output) - 1)
        output = np.empty(size, dtype=np.int64)
        for b, quantiles in enumerate(self.output):
            output[part == b] = _at(quantiles, OUTPUT_LEVELS, level[part == b])
        return prompt, output


def _quantiles(values: Ints, levels: Floats) -> tuple[float, ...]:
    return tuple(np.quantile(values, levels, method="inverted_cdf").astype(float).tolist())


def _at(quantiles: tuple[float, ...], levels: Floats, chance: Floats) -> Ints:
    return np.maximum(np.rint(np.interp(chance, levels, quantiles)), 1).astype(np.int64)
