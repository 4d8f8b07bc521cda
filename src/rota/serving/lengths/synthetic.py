"""SYNTHETIC data of CASTILLO's shape: the law of every length is known. The constants are Rota's, not measured.

They keep what is published of the shape: prompts of up to 2,500 tokens from seven kinds of corpus, lengths that vary by
10-45 % within a prompt, and a rare response that runs into the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.lengths.castillo import LIMIT, Sample, row
from rota.serving.lengths.distribution import RESOLUTION, LengthDistribution
from rota.serving.model import Floats, Ints, Workload

CAPPED = LIMIT + 1
"""Tokens of a response that ran into the limit."""


@dataclass(frozen=True)
class Corpus:
    """Prompts of one kind: medians in tokens, spreads as standard deviations of the natural logarithm.

    Attributes:
        prompt, prompt_spread: prompt lengths.
        output: median response to a median prompt.
        slope: by what power the response grows with the prompt.
        prompt_effect: how far prompts of equal length differ in their typical response; nothing but the text tells.
        noise: how far responses to one prompt differ.
    """

    name: str
    prompt: float
    prompt_spread: float
    output: float
    slope: float
    prompt_effect: float
    noise: float


CORPORA = (
    Corpus("instructions", 30, 0.5, 180, 0.3, 0.8, 0.30),
    Corpus("chat", 120, 1.3, 330, 0.1, 0.7, 0.35),
    Corpus("closed-questions", 250, 0.7, 90, 0.0, 0.6, 0.40),
    Corpus("small-programs", 110, 0.3, 400, 0.2, 0.25, 0.15),
    Corpus("contest-programs", 600, 0.5, 900, 0.4, 0.35, 0.25),
    Corpus("data-science", 280, 0.6, 480, 0.3, 0.4, 0.18),
    Corpus("library-programs", 180, 0.3, 620, 0.2, 0.25, 0.15),
)


@dataclass(frozen=True)
class SyntheticLengths:
    """A generator of prompts and response lengths, drawn from a law that it hands out.

    ln(length) = ln(output) + slope ln(prompt / median prompt) + prompt effect + noise, the noise on 64 equally likely
    points of a normal distribution; with probability `degenerate` the length is 15,001 instead.

    Args:
        noise_share: share in [0, 1] of the variance of prompt effect plus noise that goes to the noise, in every
            corpus; None leaves it as in `corpora`. 0: the law is certain; 1: only corpus and prompt length tell.
        degenerate: probability that a response runs into the limit.
        corpora: kinds of prompts, equally frequent.
    """

    noise_share: float | None = None
    degenerate: float = 0.001
    corpora: tuple[Corpus, ...] = CORPORA

    def __post_init__(self) -> None:
        if self.noise_share is not None and not 0 <= self.noise_share <= 1:
            raise InputError("SyntheticLengths.noise_share", f"{self.noise_share:g}", "a share in [0, 1]")
        if not 0 <= self.degenerate < 1:
            raise InputError("SyntheticLengths.degenerate", f"{self.degenerate:g}", "a probability in [0, 1)")

    def prompts(self, count: int, rng: np.random.Generator) -> tuple[Ints, Ints, list[LengthDistribution]]:
        """(count,) corpus indices, (count,) prompt tokens, and the law of the response to each."""
        corpus = rng.integers(len(self.corpora), size=count)
        prompt = self._of("prompt")[corpus] * np.exp(self._of("prompt_spread")[corpus] * rng.standard_normal(count))
        tokens = np.clip(np.rint(prompt), 1, 2500).astype(np.int64)
        effect, noise = self._spreads()
        centre = (
            np.log(self._of("output")[corpus]) + effect[corpus] * rng.standard_normal(count)
            + self._of("slope")[corpus] * np.log(tokens / self._of("prompt")[corpus])
        )  # fmt: skip
        return corpus, tokens, self._law(centre, noise[corpus])

    def workload(self, count: int, rate: float, seed: int = 0) -> tuple[Workload, list[LengthDistribution]]:
        """Poisson arrivals, `rate` a second, each with its own prompt (tenant: corpus); and the law of each output."""
        if count < 1 or not rate > 0:
            raise InputError(
                "synthetic workload", f"{count} requests at {rate:g} a second", "at least 1, at a rate > 0"
            )
        rng = stream(seed, "lengths", "synthetic", "workload")
        corpus, prompt, law = self.prompts(count, rng)
        arrival = rng.exponential(1 / rate, size=count).cumsum()
        output = [one.sample(rng) for one in law]
        names = tuple(c.name for c in self.corpora)
        return Workload.of(arrival, prompt, output, tenant=corpus, tenants=names, name="synthetic lengths"), law

    def samples(self, count: int, repeats: int = 10, seed: int = 0) -> tuple[list[Sample], list[LengthDistribution]]:
        """`count` rows of CASTILLO's shape with `repeats` lengths each, by the model `synthetic`; and their laws."""
        rng = stream(seed, "lengths", "synthetic", "samples")
        corpus, prompt, law = self.prompts(count, rng)
        rows = [
            row(
                model="synthetic", dataset=self.corpora[corpus[i]].name, input_size=int(prompt[i]),
                prompt_id=f"{i:016x}", sample_id=f"{i:016x}", output_sizes=law[i].samples(rng, repeats).tolist(),
            )
            for i in range(count)
        ]  # fmt: skip
        return rows, law

    def _law(self, centre: Floats, noise: Floats) -> list[LengthDistribution]:
        lengths = np.exp(centre[:, None] + noise[:, None] * _normal_points())
        atoms = np.column_stack([np.clip(np.rint(lengths), 1, LIMIT - 1), np.full(len(centre), CAPPED)])
        weights = np.append(np.full(RESOLUTION, (1 - self.degenerate) / RESOLUTION), self.degenerate)
        return [LengthDistribution.of(row, weights) for row in atoms]

    def _spreads(self) -> tuple[Floats, Floats]:
        """Prompt effect and noise of each corpus."""
        effect, noise = self._of("prompt_effect"), self._of("noise")
        if self.noise_share is None:
            return effect, noise
        total = np.hypot(effect, noise)
        return total * np.sqrt(1 - self.noise_share), total * np.sqrt(self.noise_share)

    def _of(self, attribute: str) -> Floats:
        return np.array([getattr(corpus, attribute) for corpus in self.corpora], dtype=np.float64)


def _normal_points() -> Floats:
    """(64,) quantiles of the standard normal at the midpoints of 64 equal shares."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / RESOLUTION) for i in range(RESOLUTION)])
