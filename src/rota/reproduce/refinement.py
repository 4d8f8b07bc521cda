"""Refinement: linear decay is the schedule to begin with, and a run's own gradient norms say how to do better.

Three experiments. The formulas: constant norms give linear decay, the authors' synthetic norms give a warm-up. The theory: the
last iterate on the instance of Harvey et al. 2019, for steps that decay to 0 and for steps that do not. Training: three
small tasks, each schedule at its own best rate; rates are chosen, and the norms of several runs recorded and averaged, on seeds
(and text) that do not judge. A run that diverged counts as ten times the worst loss of its task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rota.core.stats import Interval, log_ratio_interval
from rota.reproduce._refinement_tasks import CharacterModel, Task, ZipfAdam, ZipfLogistic
from rota.reproduce._small_tasks import capped, diverged
from rota.reproduce.claims import Claim, Stated, verdict
from rota.training import constant, cosine, linear
from rota.training.bound import hard_instance
from rota.training.refinement import factors, refine
from rota.training.schedule import Floats, Schedule

PAPER = (
    "Defazio et al., When, Why and How Much? Adaptive Learning Rate Scheduling by Refinement, 2023 (arXiv 2310.07831)"
)

KNOTS = (0.0, 0.003, 0.02, 0.03, 0.1, 1.0)
CURVES = {
    "flat": (1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "early-fall": (15.0, 6.0, 4.0, 2.0, 1.0, 1.0),
    "late-rise": (15.0, 6.0, 4.0, 2.0, 1.0, 2.0),
    "late-fall": (15.0, 6.0, 4.0, 2.0, 1.0, 0.7),
}
"""Norms at `KNOTS`, shares of a run, with straight lines between them."""
PEAKS = {"flat": 0.0, "early-fall": 0.135, "late-rise": 0.121, "late-fall": 0.1505}
LENGTH, SIGMA = 2000, 40.0

TIE = 1.0
"""Per cent of the loss within which two schedules count as equally good, where the claim is that one is no worse."""
TUNING, JUDGES = 8, 20
"""Seeds that choose base rates, numbered from 1000 on, and those that judge at least, numbered from 0."""
RECORDED = 6
"""Tuning seeds whose runs are recorded."""

FIGURE = "figure of refined schedules for four synthetic norm curves"
ABSTRACT = "abstract: over ten deep-learning problems and logistic regressions"
THEORY = "theorem on the last iterate, linear decay"
TASKS: dict[str, tuple[type[Task], int, str]] = {
    "zipf": (ZipfLogistic, 2000, "sparse logistic regression, SGD"),
    "zipf-adam": (ZipfAdam, 2000, "sparse logistic regression, Adam"),
    "char": (CharacterModel, 800, "character model, Adam"),
}
"""Each with its steps and what it is called."""

CLAIMS: tuple[Stated, ...] = (
    Stated("constant", THEORY, "Constant norms refine to linear decay (largest difference)", 0.0),
    *(Stated(f"peak-{name}", FIGURE, f"Where the schedule peaks, {name} norms (share)", x) for name, x in PEAKS.items()),
    Stated("logged-norms", "refined schedules of ten real runs", "Logged norms give a warm-up and a fall"),
    Stated("last-linear", THEORY, "Hard instance: gap x sqrt(T) stays, linear decay (T = 1024 over 64)", "no log T"),
    Stated("last-inverse-sqrt", "Harvey et al. 2019", "The same grows with log T, steps 1/sqrt(t)", "log T: 1.67"),
    *(
        stated
        for name, (_, _, words) in TASKS.items()
        for stated in (
            Stated(f"{name}-linear-constant", ABSTRACT, f"{words}: linear decay beats a constant rate (loss saved, %)", "> 0"),
            Stated(f"{name}-linear-cosine", ABSTRACT, f"{words}: linear decay is no worse than cosine (loss saved, %)", ">= 0"),
            Stated(f"{name}-refined-linear", ABSTRACT, f"{words}: refined beats linear (loss saved, %)", "> 0"),
        )
    ),
)  # fmt: skip


def run(seeds: int = 5, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[Claim]:
    """Measure the claims; four times `seeds` judge the schedules, at least 20, or with `quick` three, on shorter runs."""
    say = progress or (lambda line: None)
    stated = {claim.id: claim for claim in CLAIMS}
    judges = 3 if quick else max(JUDGES, 4 * seeds)
    claims = [*_formulas(stated), *_theory(stated)]
    for name, (task, steps, words) in TASKS.items():
        say(f"training: {words}")
        claims += _training(stated, name, task(steps // 4 if quick else steps), judges, 2 if quick else TUNING)
    return claims


def curve(name: str) -> Floats:
    """(2000,) one of the authors' synthetic norm curves: straight lines under a Gaussian of 40 steps."""
    straight = np.interp(np.linspace(0, 1, LENGTH), KNOTS, CURVES[name])
    reach = int(4 * SIGMA + 0.5)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    return np.convolve(np.pad(straight, reach, "edge"), bell / bell.sum(), "valid")


def _formulas(stated: Mapping[str, Stated]) -> list[Claim]:
    lengths, at = (10, 1000, 25_000), np.arange(1001.0)
    apart = max(float(np.abs(refine(np.full(n, 3.0))(at, 1000) - linear()(at, 1000)).max()) for n in lengths)
    claims = [stated["constant"].measured(apart, None, "holds" if apart < 1e-12 else "does not hold")]
    for name, peak in PEAKS.items():
        here = int(factors(curve(name), 2)[1:].argmax()) / LENGTH
        good = verdict((here, here), at_least=peak - 1e-9, at_most=peak + 1e-9)
        differs = "the value to meet is the authors' formula on the authors' curve, computed apart; their figure has no numbers"
        claims.append(stated[f"peak-{name}"].measured(here, None, good, baseline={"linear": 0.0}, differs=differs))
    return [*claims, stated["logged-norms"].not_shown("the authors' logs are not on this machine")]


def _theory(stated: Mapping[str, Stated]) -> list[Claim]:
    def growth(sizes: Callable[[Floats, int], Floats]) -> float:
        gaps = [hard_instance(sizes(np.arange(1.0, n + 1), n)) * np.sqrt(n) for n in (64, 1024)]
        return float(gaps[1] / gaps[0])

    falling, slow = growth(lambda t, n: (1 - t / n) / np.sqrt(n)), growth(lambda t, n: 1 / np.sqrt(t))
    level = growth(lambda t, n: np.full(n, 1 / np.sqrt(n)))
    flat, grows = verdict((falling, falling), at_most=1.1), verdict((slow, slow), at_least=1.3)
    return [
        stated["last-linear"].measured(falling, None, flat, baseline={"constant 1/sqrt(T)": level}),
        stated["last-inverse-sqrt"].measured(slow, None, grows, baseline={"linear": falling}),
    ]


def _training(stated: Mapping[str, Stated], name: str, task: Task, judges: int, tuning: int) -> list[Claim]:
    shapes: dict[str, Schedule] = {"linear": linear(), "cosine": cosine(), "constant": constant()}
    tuners = range(1000, 1000 + tuning)
    rates = best_rates(task, shapes, tuners)
    norms = recorded(task, rates["linear"], tuners[:RECORDED])
    shapes["refined"] = refine(norms, task.power)
    rates |= best_rates(task, {"refined": shapes["refined"]}, tuners)
    pairs = [(shape, rates[of]) for of, shape in shapes.items()]
    judged = np.array([task.losses(pairs, seed) for seed in range(judges)])
    losses = dict(zip(shapes, capped(judged).T, strict=True))
    ends = np.percentile(norms, (1, 99))
    note = (
        f"{judges} seeds judge, {tuning} others tune; {edges(task, rates)}; {diverged([judged])}; "
        f"norms, averaged over {len(tuners[:RECORDED])} recorded runs, vary {ends[1] / ends[0]:.1f}-fold "
        f"(1st to 99th percentile); {task.words}"
    )
    sides = {"linear-constant": 0.0, "linear-cosine": -TIE, "refined-linear": 0.0}
    return [_saved(stated[f"{name}-{side}"], losses, least, note) for side, least in sides.items()]


def best_rates(task: Task, shapes: Mapping[str, Schedule], seeds: range) -> dict[str, float]:
    """For each schedule the base rate of `task.rates` with the lowest mean loss; a run that diverged rules its rate out."""
    pairs = [(shape, rate) for shape in shapes.values() for rate in task.rates]
    losses = np.mean([task.losses(pairs, seed, "validation") for seed in seeds], axis=0).reshape(len(shapes), -1)
    chosen = np.where(np.isfinite(losses), losses, np.inf).argmin(axis=1)
    return {name: task.rates[k] for name, k in zip(shapes, chosen, strict=True)}


def edges(task: Task, rates: Mapping[str, float]) -> str:
    """How many of the chosen base rates lie at an edge of the grid, in words."""
    count = sum(rate in (task.rates[0], task.rates[-1]) for rate in rates.values())
    return f"{count} of {len(rates)} tuned base rates lie at an edge of the grid"


def recorded(task: Task, rate: float, seeds: range) -> Floats:
    """(steps,) gradient norms of runs under linear decay: the mean over `seeds`, step by step."""
    runs = [task.record(linear(), rate, seed).norms(task.power) for seed in seeds]
    return np.asarray(np.mean(runs, axis=0))


def _saved(claim: Stated, losses: Mapping[str, Floats], least: float, note: str) -> Claim:
    """Per cent of the other's loss that the first saves: one less the geometric mean of the ratios, seed by seed."""
    ours, other = claim.id.split("-")[-2:]
    ratio = log_ratio_interval(losses[ours], losses[other])
    saved = Interval(100 * (1 - ratio.value), 100 * (1 - ratio.high), 100 * (1 - ratio.low), ratio.n)
    tie = "a tie: the interval holds 0; " if saved.low <= 0 <= saved.high else ""
    margin = f"within {TIE:g} % counts as no worse; " if least < 0 else ""
    baseline = {side: float(np.mean(losses[side])) for side in (other, ours)}
    found = verdict(_span(saved), at_least=least)
    return claim.measured(saved.value, _span(saved), found, baseline=baseline, differs=f"{tie}{margin}{note}")


def _span(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
