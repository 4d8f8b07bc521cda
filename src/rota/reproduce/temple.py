"""TEMPLE: does preference alignment from easy to hard perturbations, ahead of fine-tuning, teach the order of events?

A toy, but trained and not simulated: a one-layer decoder reads the eight clips of a synthetic video and writes their names. The base
model learnt from captions in a disturbed order; preference pairs set the right caption against that of a perturbed video. Settings
were chosen on seeds 1000-1002 by looking at the base model and at fine-tuning alone, such that neither is perfect; no aligned
model was looked at. Those of alignment (rate, beta, weight of the chosen caption) were set beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from rota.core.errors import optional
from rota.core.stats import Interval, paired_difference
from rota.reproduce._temple_model import MAGNITUDES, Settings, World
from rota.reproduce.claims import Claim, Stated, Verdict
from rota.training.samples import Stage

PAPER = (
    "Li et al., TEMPLE: Incentivizing Temporal Understanding of Video Large Language Models via Progressive Pre-SFT Alignment "
    "(AAAI 2026, arXiv 2503.16929)"
)

SETTINGS = Settings()
QUICK = Settings(base=1024, base_passes=6.0, paired=63, tuned=1024, held=64)

TUNE = [Stage("tuned", {"tuned": 1}, "sft", 1.0)]
EASY = [Stage(f"m{m}", {"magnitude": m}, "dpo", 1.0) for m in MAGNITUDES]
MIXED = [Stage(f"part {k}", {"part": k}, "dpo", 1.0) for k in range(1, len(MAGNITUDES) + 1)]
CHOSEN = [Stage(stage.name, stage.only, "chosen", 1.0) for stage in EASY]

ARMS: dict[str, tuple[str, list[Stage]]] = {
    "SFT": ("base", TUNE),
    "easy to hard": ("base", EASY),
    "hard to easy": ("base", EASY[::-1]),
    "mixed": ("base", MIXED),
    "chosen captions": ("base", CHOSEN),
    "easy to hard, SFT": ("easy to hard", TUNE),
    "hard to easy, SFT": ("hard to easy", TUNE),
    "mixed, SFT": ("mixed", TUNE),
    "chosen captions, SFT": ("chosen captions", TUNE),
    "SFT, easy to hard": ("SFT", EASY),
}
"""What each arm starts from, and its stages; every alignment has three, each with a new reference and optimizer."""

OURS = "easy to hard, SFT"
COMPARED = {
    "easy-first-mixed": (OURS, "mixed, SFT"),
    "easy-first-hard-first": (OURS, "hard to easy, SFT"),
    "before-none": (OURS, "SFT"),
    "before-after": (OURS, "SFT, easy to hard"),
    "aligned-base": ("easy to hard", "base"),
}
CONTROL = {OURS: "chosen captions, SFT", "easy to hard": "chosen captions"}
"""The same clean captions, steps and rates, without the rejected ones."""

MEASURES = {
    "order": "share of adjacent swaps found less likely",
    "exact": "share of captions right to the last name",
}

SCHEDULE, PRE_SFT, ALIGNMENT = "progressive difficulty scheduling", "pre-SFT alignment", "temporal preference alignment"
TEXTS = {
    "easy-first-mixed": (SCHEDULE, "Alignment from easy to hard pairs is better than with mixed pairs"),
    "easy-first-hard-first": (SCHEDULE, "Alignment from easy to hard pairs is better than from hard to easy"),
    "before-none": (PRE_SFT, "Alignment before fine-tuning is better than fine-tuning alone"),
    "before-after": (PRE_SFT, "Alignment before fine-tuning is better than after it"),
    "aligned-base": (ALIGNMENT, "Alignment alone improves on the base model"),
}

CLAIMS: tuple[Stated, ...] = (
    *(
        Stated(f"{name}-{measure}", source, f"{text} (gain in {words})", "improves")
        for name, (source, text) in TEXTS.items()
        for measure, words in MEASURES.items()
    ),
    Stated("benchmarks", "main results", "Video language models improve on several video benchmarks", "improves"),
)

_DIFFERS = (
    "a toy of our own, not video: 8 clips are 8 tokens, one decoder layer of width 32, magnitudes 8, 4, 2; "
    "DPO with 0.3 of the chosen caption's loss; all weights trained, no LoRA; equal pairs and steps in every alignment; "
    "fine-tuning alone takes fewer steps, and fine-tuning's captions are in a disturbed order while those of the pairs are right"
)

Scores = dict[str, dict[str, np.ndarray]]


def run(seeds: int = 6, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[Claim]:
    """Measure the claims. `quick` takes half of the captions, and a quarter of the pairs and of the judged videos.

    Raises:
        MissingExtra: torch is not installed.
    """
    say = progress or (lambda line: None)
    stated = {claim.id: claim for claim in CLAIMS}
    found = _scores(QUICK if quick else SETTINGS, seeds, say)
    return [
        *(
            _gain(stated[f"{name}-{measure}"], found[measure], *COMPARED[name])
            for name in TEXTS
            for measure in MEASURES
        ),
        stated["benchmarks"].not_shown("needs a video language model and its training data"),
    ]


def _scores(settings: Settings, seeds: int, say: Callable[[str], None]) -> Scores:
    """By measure and arm, (seeds,) each."""
    found: Scores = {measure: {} for measure in MEASURES}
    with _one_thread():
        world = World(settings, range(seeds))
        weights = {"base": world.train(world.start(), [Stage("base", {"base": 1}, "base", settings.base_passes)])}
        for arm, (start, stages) in ARMS.items():
            say(f"training: {arm}")
            weights[arm] = world.train(weights[start], stages)
        for arm, own in weights.items():
            found["order"][arm], found["exact"][arm] = world.order(own), world.exact(own)
    return found


def _gain(claim: Stated, arms: Mapping[str, np.ndarray], arm: str, other: str) -> Claim:
    """The arm's score less the other's, seed by seed; beside it, what is left over the arm that saw the chosen captions only."""
    gain, left = paired_difference(arms[arm], arms[other]), paired_difference(arms[arm], arms[CONTROL[arm]])
    baseline = {name: float(values.mean()) for name, values in arms.items()}
    beside = f"against training on the chosen captions alone {left.value:+.3f} [{left.low:+.3f}, {left.high:+.3f}]"
    differs = f"{_DIFFERS}; {beside}; baseline: mean of every arm"
    return claim.measured(gain.value, (gain.low, gain.high), _sign(gain), baseline=baseline, differs=differs)


def _sign(gain: Interval) -> Verdict:
    """`holds` if the whole interval is above 0, `does not hold` if it is below, else a tie: `not shown here`."""
    if gain.low > 0:
        return "holds"
    return "does not hold" if gain.high < 0 else "not shown here"


@contextmanager
def _one_thread() -> Iterator[None]:
    torch = optional("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
