"""REX: a learning-rate profile that stays high for longer than a line, and so suits budgets of any size.

The profile is held against the paper's formula. Then small models (digits, breast cancer, diabetes; scikit-learn's data) are
trained with momentum SGD and with Adam for 1 to 100 % of a full run, under REX and six other schedules. Each schedule has a base
learning rate of its own in every setting, chosen on other seeds and other rows. What is compared is the loss on test rows, seed by
seed. A paired 95 % interval of the log ratio that includes 0 is a tie; the six intervals of a rank hold together at 95 %
(Bonferroni). "As good" allows 2 % of the loss, or half a rank, so that a wide interval proves nothing. A run that diverged counts
as ten times the worst loss of its setting.

Large budgets overfit breast cancer and diabetes; there tuning picks ever smaller rates, and all schedules end nearly alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from rota.core.stats import Interval, log_ratio_interval, mean_interval, paired_difference
from rota.reproduce._small_tasks import DATA, Floats, Task, capped, diverged, load, train
from rota.reproduce.claims import Claim, Stated, Verdict, verdict
from rota.training import Schedule, constant, cosine, exponential, linear, one_cycle, rex, steps

PAPER = "Chen, Wolfe and Kyrillidis, REX: Revisiting Budgeted Training with an Improved Schedule, MLSys 2022 (arXiv 2107.04197)"

SCHEDULES: dict[str, Schedule] = {
    "rex": rex(), "linear": linear(), "cosine": cosine(), "step": steps(), "exponential": exponential(), "one-cycle": one_cycle(),
    "constant": constant(),
}  # fmt: skip
OTHERS = tuple(name for name in SCHEDULES if name != "rex")
RATES = {
    "sgd": 0.001 * 3000 ** (np.arange(-4, 11) / 10),
    "adam": 0.0003 * (1 / 0.0003) ** (np.arange(-4, 11) / 10),
}
"""Base rates to choose from, ascending: 0.00004 to 3, and 0.00001 to 1."""
BUDGETS = (0.01, 0.05, 0.10, 0.25, 0.50, 1.00)
LOW = 0.10
"""The largest budget that counts as low."""
FULL = 2000
TUNING = range(100_000, 100_010)
AS_GOOD = 1.02
"""Ratio of losses up to which REX counts as being as good."""
NEAR_RANK = 0.5
"""Ranks by which another schedule may seem ahead, for REX to match it."""
LEVEL = 1 - 0.05 / len(OTHERS)
"""Of each of the intervals that REX's rank is judged by."""

ABSTRACT, METHOD = "abstract", "Sec. 3, the REX profile"
CLAIMS: tuple[Stated, ...] = (
    Stated("profile", METHOD, "The profile is (1 - s) / (1/2 + 1/2 (1 - s)) (largest deviation at 1001 points)", 0.0),
    Stated("mean", METHOD, "It spends more than a line: its mean over the run is 2 - 2 ln 2", 2 - 2 * math.log(2)),
    Stated("low-linear", ABSTRACT, "REX beats linear decay at low budgets (ratio of test losses)", "< 1"),
    Stated("low-rank", ABSTRACT, "REX matches or beats every other schedule at low budgets (mean rank of 7)"),
    Stated("high-rank", ABSTRACT, "REX matches or beats every other schedule at high budgets (mean rank of 7)"),
    *(
        Stated(
            f"against-{name}",
            ABSTRACT,
            f"REX is as good as {name} or better (ratio of test losses, within 2 %)",
            "<= 1",
        )
        for name in OTHERS
    ),
)

Setting = tuple[str, str, float]
"""Task, optimiser, budget."""
Losses = dict[Setting, Floats]
"""(seeds, schedules) test losses of each setting, schedules in the order of `SCHEDULES`."""


def run(seeds: int = 10, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[Claim]:
    """Measure every claim; `quick` trains for a twentieth of the steps, at four of the six budgets."""
    say = progress or (lambda line: None)
    stated = {claim.id: claim for claim in CLAIMS}
    budgets, full = ((0.05, 0.10, 0.50, 1.00), FULL // 20) if quick else (BUDGETS, FULL)
    losses: Losses = {}
    picks: dict[Setting, Floats] = {}
    for name in DATA:
        task = load(name)
        for optimiser, budget in product(RATES, budgets):
            say(f"{name}, {optimiser}, {budget:.0%} of {full} steps")
            found = measure(task, optimiser, max(2, round(budget * full)), seeds)
            losses[name, optimiser, budget], picks[name, optimiser, budget] = found
    return [*exact(stated), *judged(stated, losses, edges(picks))]


def measure(task: Task, optimiser: str, total: int, seeds: int) -> tuple[Floats, Floats]:
    """Test losses after `total` steps, each schedule at the base rate that did best on the tuning seeds.

    Returns:
        (seeds, schedules) losses, and the (schedules,) base rates.
    """
    shapes = np.stack([schedule.table(total) for schedule in SCHEDULES.values()])
    bases = RATES[optimiser]
    grid = (bases[None, :, None] * shapes[:, None, :]).reshape(-1, total)
    tried = train(task, optimiser, grid, TUNING, "validation").mean(axis=0).reshape(len(shapes), len(bases))
    best = bases[np.argmin(tried, axis=1)]
    return train(task, optimiser, best[:, None] * shapes, range(seeds), "test"), best


def edges(picks: Mapping[Setting, Floats]) -> str:
    """How many of the chosen base rates lie at an edge of their grid, in words."""
    least = sum(int((best == RATES[setting[1]][0]).sum()) for setting, best in picks.items())
    most = sum(int((best == RATES[setting[1]][-1]).sum()) for setting, best in picks.items())
    return f"{least} of {sum(map(len, picks.values()))} tuned base rates lie at the lower edge of the grid, {most} at the upper"


def exact(stated: Mapping[str, Stated]) -> list[Claim]:
    """What needs no experiment."""
    s = np.linspace(0, 1, 1001)
    off = float(np.abs(rex()(s, 1) - (1 - s) / (0.5 + 0.5 * (1 - s))).max())
    mean = rex().integral(0, 1, 1)
    copies = {"copies with 0.1 + 0.9 (1 - s)": rex(0.9).integral(0, 1, 1), "linear": linear().integral(0, 1, 1)}
    near = abs(mean - (2 - 2 * math.log(2))) < 1e-12
    return [
        stated["profile"].measured(off, (off, off), verdict((off, off), at_most=1e-12), differs="exact; no data"),
        stated["mean"].measured(
            mean, (mean, mean), "holds" if near else "does not hold", baseline=copies, differs="exact; no data"
        ),
    ]


def judged(stated: Mapping[str, Stated], losses: Losses, note: str) -> list[Claim]:
    """The claims about training; `note` goes with each, and so does the number of diverged runs."""
    note += f"; {diverged(list(losses.values()))}"
    losses = {setting: capped(found) for setting, found in losses.items()}
    low = {setting: found for setting, found in losses.items() if setting[2] <= LOW}
    high = {setting: found for setting, found in losses.items() if setting[2] > LOW}
    return [
        _ratio(stated["low-linear"], low, "linear", note, better=True),
        _rank(stated["low-rank"], low, note),
        _rank(stated["high-rank"], high, note),
        *(_ratio(stated[f"against-{name}"], losses, name, note, better=False) for name in OTHERS),
    ]


def ranks(found: Floats) -> Floats:
    """(seeds, schedules) ranks within each seed, 1 the lowest loss; equal losses share their mean rank."""
    below = (found[:, None, :] < found[:, :, None]).sum(axis=2)
    equal = (found[:, None, :] == found[:, :, None]).sum(axis=2)
    return np.asarray(below + (equal + 1) / 2)


def tally(losses: Losses, name: str) -> tuple[int, int, int]:
    """Settings in which REX is better than `name`, ties with it, and is worse; losses are finite (see `capped`)."""
    column = list(SCHEDULES).index(name)
    spans = [log_ratio_interval(found[:, 0], found[:, column]) for found in losses.values()]
    return sum(s.high < 1 for s in spans), sum(s.low <= 1 <= s.high for s in spans), sum(s.low > 1 for s in spans)


def _ratio(claim: Stated, losses: Losses, name: str, note: str, *, better: bool) -> Claim:
    """Geometric mean over settings of REX's loss to that of `name`; the interval is over seeds."""
    column = list(SCHEDULES).index(name)
    by_seed = np.mean([np.log(found[:, 0] / found[:, column]) for found in losses.values()], axis=0)
    middle = mean_interval(by_seed)
    span = math.exp(middle.low), math.exp(middle.high)
    won, tied, lost = tally(losses, name)
    tie = span[0] <= 1 <= span[1]
    words = f"of {len(losses)} settings {won} better, {tied} tied, {lost} worse{'; a tie on the whole' if tie else ''}"
    found = verdict(span, at_most=1.0 if better else AS_GOOD)
    return claim.measured(
        math.exp(middle.value), span, found, baseline={name: 1.0}, differs=f"{_SCALE}; {words}; {note}"
    )


def _rank(claim: Stated, losses: Losses, note: str) -> Claim:
    """REX's mean rank; the claim holds if no other's is lower by its interval at `LEVEL`, nor may be by more than `NEAR_RANK`."""
    by_seed = np.mean([ranks(found) for found in losses.values()], axis=0)
    own = mean_interval(by_seed[:, 0])
    gaps = {name: paired_difference(by_seed[:, k], by_seed[:, 0], LEVEL) for k, name in enumerate(SCHEDULES) if k}
    ahead = [name for name, gap in gaps.items() if gap.high < 0]
    named = f"{_named('ahead of REX', ahead)}; {_named('tied with it', _tied(gaps))} (six paired intervals, together at 95 %)"
    baseline = {name: float(by_seed[:, k].mean()) for k, name in enumerate(SCHEDULES) if k}
    matched = all(gap.low >= -NEAR_RANK for gap in gaps.values())
    found: Verdict = "does not hold" if ahead else "holds" if matched else "not shown here"
    return claim.measured(
        own.value, (own.low, own.high), found, baseline=baseline, differs=f"{_SCALE}; {named}; {note}"
    )


_SCALE = "three small tasks in place of image and language models, one set of test rows each; momentum is not cycled; no plateau schedule"


def _tied(gaps: Mapping[str, Interval]) -> list[str]:
    return [name for name, gap in gaps.items() if gap.low <= 0 <= gap.high]


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(names) or 'none'}"
