"""ALISA's three-phase placement of sparse window attention, and two ways to choose its parameters.

After Zhao, Wu and Wang, "ALISA: Accelerating Large Language Model Inference via Sparsity-Aware KV Caching" (ISCA 2024),
Algorithm 2. Phase I (steps before p1): all KV on the GPU. Phase II (p1 to p2): the oldest share alpha of the tokens on
the host, the chosen ones loaded when attended. Phase III (from p2): the oldest share beta of those is dropped, and
recomputed when attended. Which share of the chosen tokens lies on the host is a reconstruction (`by_age.hits`), as are
the order of the greedy search and counting a token's store once, when it leaves the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rota.core.errors import Infeasible
from rota.serving.residency import cost
from rota.serving.residency.by_age import by_age, previous, window_of
from rota.serving.residency.model import Floats, Ints, OfflineBatch, Placement

PENALTY = 1e6
"""Seconds charged for a step that does not fit: more than a generation takes, and sums stay exact to a microsecond."""


@dataclass(frozen=True)
class Phases:
    """The parameters: shares in [0, 1], and the steps at which Phases II and III begin (0 <= p1 <= p2 <= output)."""

    alpha: float
    beta: float
    p1: int
    p2: int


@dataclass(frozen=True)
class ThreePhase:
    """What a three-phase placement of one problem may choose from.

    Attributes:
        problem: what is generated.
        ratio: caching ratio r in (0, 1]; 1 - r is the KV sparsity.
        kv_bits, skew: as in `by_age`.
        alphas, betas: shares to choose from, ascending from 0. Steps p1 and p2 may be any.
    """

    problem: OfflineBatch
    ratio: float
    kv_bits: int
    skew: float
    alphas: Floats
    betas: Floats

    def placement(self, phases: Phases) -> Placement:
        """The placement under given parameters, feasible or not."""
        step = np.arange(self.problem.output)
        off = np.where(step < phases.p1, 0, self._offloaded(phases.alpha))
        drop = np.where(step < phases.p2, 0, self._dropped(phases.beta, off))
        chosen = {"alpha": phases.alpha, "beta": phases.beta, "p1": float(phases.p1), "p2": float(phases.p2)}
        return replace(self._by_age(off, drop), chosen=chosen)

    def seconds(self, phases: Phases) -> float:
        """Duration of the generation under given parameters; infinite where it does not fit."""
        return float(cost.total_seconds(self.problem, self.placement(phases)))

    def steps(self, phases: Phases) -> Floats:
        """(output,) seconds of each step under given parameters."""
        return cost.step_seconds(self.problem, self.placement(phases))

    def greedy(self) -> Phases:
        """One parameter after the other: the latest p1, the least alpha, beta upward while it helps, the best p2.

        Raises:
            Infeasible: no alpha fits with the latest p1.
        """
        n = self.problem.output
        p1 = int(np.argmax(np.append(self._phase_one() >= PENALTY, True)))
        if p1 == n:
            return Phases(0.0, 0.0, n, n)
        tables = map(self._tables, self.alphas.tolist())
        table = next((table for table in tables if table.two_phases(p1) < PENALTY), None)
        if table is None:
            raise self._infeasible()
        seconds, p2 = table.best_p2(p1)
        falls = np.diff(seconds) < 0
        best = int(np.argmin(np.append(falls, False)))
        return self._phases(table.alpha, best, p1, int(p2[best]))

    def exhaustive(self) -> Phases:
        """The best of all combinations; exact, since steps add up and only the changes of phase couple them.

        Raises:
            Infeasible: no combination fits.
        """
        n = self.problem.output
        stay = (float(self._phase_one().sum()), Phases(0.0, 0.0, n, n))
        seconds, phases = min((stay, *map(self._best, self.alphas.tolist())), key=lambda found: found[0])
        if seconds >= PENALTY:
            raise self._infeasible()
        return phases

    def _best(self, alpha: float) -> tuple[float, Phases]:
        table = self._tables(alpha)
        seconds = table.best_p1()
        beta, p1 = np.unravel_index(int(seconds.argmin()), seconds.shape)
        return float(seconds.min()), self._phases(alpha, int(beta), int(p1), int(table.best_p2(int(p1))[1][beta]))

    def _phases(self, alpha: float, beta: int, p1: int, p2: int) -> Phases:
        dropping = self.betas[beta] > 0 and p2 < self.problem.output
        return (
            Phases(alpha, float(self.betas[beta]), p1, p2) if dropping else Phases(alpha, 0.0, p1, self.problem.output)
        )

    def _tables(self, alpha: float) -> _Tables:
        nothing = np.zeros(self.problem.output, dtype=np.int64)
        off, drop = self._offloaded(alpha), self._dropped(self.betas[:, None], self._offloaded(alpha))
        before = previous(off)
        return _Tables(
            alpha, self._phase_one(),
            self._steps((nothing, nothing), (off, nothing)), self._steps((before, nothing), (off, nothing)),
            lambda: (
                self._steps((nothing, nothing), (off, drop)), self._steps((before, nothing), (off, drop)),
                self._steps((before, previous(drop)), (off, drop)),
            ),
        )  # fmt: skip

    def _phase_one(self) -> Floats:
        nothing = np.zeros(self.problem.output, dtype=np.int64)
        return self._steps((nothing, nothing), (nothing, nothing))

    def _steps(self, before: tuple[Ints, Ints], after: tuple[Ints, Ints]) -> Floats:
        """(output,) seconds of each step, were it to begin with one pair of boundaries and to end with the other."""
        placement = self._by_age(*after, before)
        made = np.append(0, self.problem.context[:-1])
        resident = self.problem.batch * (made - before[0])
        fits = cost.fits(self.problem, placement, resident)
        return np.where(fits, cost.step_seconds(self.problem, placement), PENALTY)

    def _by_age(self, off: Ints, drop: Ints, before: tuple[Ints, Ints] | None = None) -> Placement:
        window = window_of(self.problem, self.ratio)
        return by_age(self.problem, off, drop, window=window, kv_bits=self.kv_bits, skew=self.skew, before=before)

    def _offloaded(self, alpha: float) -> Ints:
        share = np.floor(alpha * self.problem.context + 0.5).astype(np.int64)
        return np.minimum(share, self.problem.context - window_of(self.problem, self.ratio))

    @staticmethod
    def _dropped(beta: float | Floats, off: Ints) -> Ints:
        return np.floor(beta * off + 1e-9).astype(np.int64)

    def _infeasible(self) -> Infeasible:
        problem = self.problem
        return Infeasible(f"no three-phase placement of batch {problem.batch} fits {problem.device.name} and its host")


@dataclass(frozen=True)
class _Tables:
    """Seconds of every step in and between phases, under one alpha; by sums over them, a pair (p1, p2) costs O(1).

    Attributes:
        first, enter, second: (n,) a step of Phase I, the first one of Phase II, a later one.
        third: gives three (betas, n) arrays: the step that begins Phase III after I, after II, and a later one.
    """

    alpha: float
    first: Floats
    enter: Floats
    second: Floats
    third: Callable[[], tuple[Floats, Floats, Floats]]

    def two_phases(self, p1: int) -> float:
        """Seconds of I and II, without III."""
        return float(self.first[:p1].sum() + self.enter[p1] + self.second[p1 + 1 :].sum())

    def best_p2(self, p1: int) -> tuple[Floats, Ints]:
        """(betas,) least seconds in all for a given p1, and the p2 that gives them."""
        split, straight = self._split()[:, [p1]] + self._turn[:, p1 + 1 :], self._straight[:, [p1]]
        seconds = np.concatenate([straight, split], axis=1)
        return seconds.min(axis=1), p1 + seconds.argmin(axis=1)

    def best_p1(self) -> Floats:
        """(betas, n) least seconds in all for each p1, over every p2."""
        later = np.minimum.accumulate(self._turn[:, ::-1], axis=1)[:, ::-1]
        return np.minimum(self._straight, self._split() + later[:, 1:])

    def _split(self) -> Floats:
        """(1, n) what does not depend on p2: Phase I, the step p1, less what `_turn` counts of Phase II up to p1."""
        return (_sums(self.first)[:-1] + self.enter - _sums(self.second)[1:])[None]

    @cached_property
    def _turn(self) -> Floats:
        """(betas, n + 1) Phase II up to p2 as if from the start, the step p2, and Phase III after it."""
        _, turn, third = self._third
        return _sums(self.second) + np.pad(turn + _rest(third), ((0, 0), (0, 1)))

    @cached_property
    def _straight(self) -> Floats:
        """(betas, n) seconds in all where p2 = p1."""
        straight, _, third = self._third
        return _sums(self.first)[:-1] + straight + _rest(third)

    @cached_property
    def _third(self) -> tuple[Floats, Floats, Floats]:
        return self.third()


def _sums(seconds: Floats) -> Floats:
    """(n + 1,) seconds of all steps before each."""
    return np.append(0.0, np.cumsum(seconds))


def _rest(seconds: Floats) -> Floats:
    """(..., n) seconds of all steps after each."""
    return np.cumsum(seconds[..., ::-1], axis=-1)[..., ::-1] - seconds
