"""Arrival processes fitted to traces: gaps that are Gamma by window or follow an empirical chain over a rate profile,
or batches.

The first two work in operational time, in which the mean rate is 1 everywhere: a gap of u there lasts until the
integral of the rate has grown by u. So a profile with silent minutes, or one that is stretched to another rate, needs
no special case.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from rota.serving.model import Floats

SHAPES = (0.01, 100.0)
"""Bounds of a fitted Gamma shape."""

LEVELS = np.union1d(np.linspace(0, 1, 33), (0.98, 0.99, 0.995, 0.998, 0.999))
"""Levels of the quantiles kept, denser where the long gaps are."""

STATES = 8
"""States of a `GapChain`."""


class Profile(msgspec.Struct, frozen=True):
    """Piece-wise constant rate, repeated for ever.

    Attributes:
        window: seconds that a rate holds.
        rate: arrivals a second in each window; not all 0.
    """

    window: float
    rate: tuple[float, ...]

    @classmethod
    def of(cls, times: Floats, window: float | None, duration: float) -> Profile:
        """The profile of a trace; None for `window` gives one constant rate."""
        if window is None or duration <= window:
            return cls(duration, (len(times) / duration,))
        edges = np.append(np.arange(0.0, duration, window), duration)
        if edges[-1] - edges[-2] < window / 2 and len(edges) > 2:
            edges = np.delete(edges, -2)
        number = np.histogram(times, edges)[0]
        return cls(window, tuple((number / np.diff(edges)).tolist()))

    @property
    def mean(self) -> float:
        """Arrivals a second over a whole round of the profile."""
        return sum(self.rate) / len(self.rate)

    def operational(self, times: Floats) -> Floats:
        """(n,) times, seconds, as operational times."""
        return np.interp(times, *self._corners(float(times[-1])))

    def clock(self, operational: Floats) -> Floats:
        """(n,) operational times as seconds, the earliest where the rate is 0."""
        seconds, grown = self._corners(operational[-1] / self.mean + len(self.rate) * self.window)
        rising = np.concatenate([[True], np.diff(grown) > 0])
        after = np.searchsorted(grown[rising], operational, side="left")
        corner = np.flatnonzero(rising)[np.minimum(after, rising.sum() - 1)]
        before = np.maximum(corner - 1, 0)
        slope = (seconds[corner] - seconds[before]) / np.maximum(grown[corner] - grown[before], 1e-300)
        return np.where(corner > 0, seconds[corner] - (grown[corner] - operational) * slope, 0.0)

    def _corners(self, until: float) -> tuple[Floats, Floats]:
        rounds = math.ceil(until / (self.window * len(self.rate))) + 1
        rate = np.tile(self.rate, rounds)
        return self.window * np.arange(len(rate) + 1.0), np.concatenate([[0.0], np.cumsum(rate) * self.window])


class PiecewiseGamma(msgspec.Struct, frozen=True, tag="gamma"):
    """Gamma gaps whose rate and shape hold for a window each: alpha(t), beta(t) of BurstGPT's modelled mode, with rate
    = beta / alpha.

    A gap that crosses the end of a window goes on at the rate of the next.
    """

    profile: Profile
    shape: tuple[float, ...]

    @classmethod
    def fit(cls, times: Floats, duration: float, window: float | None) -> PiecewiseGamma:
        """Rate by counting; shape by the moments of the gaps in the window, over all of the trace where there are under
        20."""
        profile = Profile.of(times, window, duration)
        grown = np.diff(profile.operational(times))
        overall = _shape(grown)
        place = np.minimum((times[1:] // profile.window).astype(int), len(profile.rate) - 1)
        inside = [grown[place == k] for k in range(len(profile.rate))]
        return cls(profile, tuple(_shape(g) if len(g) >= 20 else overall for g in inside))

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """(n,) arrival times, seconds."""
        found: list[Floats] = []
        left, window, at = n, 0, 0.0
        carried = float(rng.random() * rng.gamma(self.shape[0], 1 / self.shape[0]))
        while left > 0:
            k = window % len(self.shape)
            room = self.profile.rate[k] * self.profile.window
            steps = self._steps(rng, self.shape[k], room, carried)
            inside = steps[steps < room]
            found.append(at + inside)
            carried = float(steps[len(inside)] - room)
            left, window, at = left - len(inside), window + 1, at + room
        return self.profile.clock(np.concatenate(found)[:n])

    def _steps(self, rng: np.random.Generator, shape: float, room: float, carried: float) -> Floats:
        steps = np.array([carried])
        while steps[-1] < room:
            more = rng.gamma(shape, 1 / shape, int(room) + 16)
            steps = np.concatenate([steps, steps[-1] + np.cumsum(more)])
        return steps


class GapChain(msgspec.Struct, frozen=True, tag="chain"):
    """Gaps with their empirical distribution and their dependence on the gap before, on top of a rate profile.

    Operational gaps are sorted into states of equal weight; the chain of states keeps its empirical transitions, and
    within a state a gap is drawn from the state's quantiles.

    Attributes:
        profile: slow variation of the rate.
        transition: (s, s) rows sum to 1.
        gaps: (s, len(LEVELS)) operational gaps at `LEVELS`, state by state.
    """

    profile: Profile
    transition: tuple[tuple[float, ...], ...]
    gaps: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, times: Floats, duration: float, window: float | None) -> GapChain:
        """Count transitions between the states of successive gaps."""
        profile = Profile.of(times, window, duration)
        grown = np.diff(profile.operational(times))
        edges = np.unique(np.quantile(grown, np.linspace(0, 1, STATES + 1)[1:-1]))
        state = np.searchsorted(edges, grown, side="left")
        used, state = np.unique(state, return_inverse=True)
        follow = np.full((len(used), len(used)), 1e-9)
        np.add.at(follow, (state[:-1], state[1:]), 1.0)
        gaps = np.array([np.quantile(grown[state == s], LEVELS) for s in range(len(used))])
        share = np.bincount(state) / len(state)
        excess = share @ np.trapezoid(gaps, LEVELS, axis=1) - grown.mean()  # straight lines overstate a convex tail
        beyond = gaps[-1] - gaps[-1, 0]
        area = float(np.trapezoid(beyond, LEVELS))
        if area > 0:
            gaps[-1] -= beyond * excess / (share[-1] * area)
        return cls(profile, _rows(follow / follow.sum(1, keepdims=True)), _rows(gaps))

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """(n,) arrival times, seconds; the first at time 0."""
        upto = np.cumsum(self.transition, axis=1)
        upto[:, -1] = 1.0
        state, states = int(rng.integers(len(upto))), np.empty(max(n - 1, 0), dtype=np.int64)
        for i, chance in enumerate(rng.random(n - 1).tolist()):
            states[i] = state
            state = int(np.searchsorted(upto[state], chance, side="right"))
        level, gap = rng.random(n - 1), np.empty(n - 1)
        for s, quantiles in enumerate(self.gaps):
            gap[states == s] = np.interp(level[states == s], LEVELS, quantiles)
        return self.profile.clock(np.concatenate([[0.0], np.cumsum(gap)]))


class Batches(msgspec.Struct, frozen=True, tag="batches"):
    """Requests that come in batches at one instant, as in a trace whose clock was read every few seconds.

    Attributes:
        gaps: seconds between batches at `LEVELS`.
        sizes: requests in a batch at `LEVELS`.
    """

    gaps: tuple[float, ...]
    sizes: tuple[float, ...]

    @classmethod
    def fit(cls, times: Floats, duration: float, window: float | None) -> Batches:
        """Quantiles of gaps and sizes; duration and window change nothing."""
        instants, sizes = np.unique(times, return_counts=True)
        return cls(*(tuple(np.quantile(v, LEVELS).tolist()) for v in (np.diff(instants), sizes)))

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """(n,) arrival times, seconds; the first at time 0."""
        sizes = np.maximum(np.rint(np.interp(rng.random(n), LEVELS, self.sizes)), 1).astype(np.int64)
        sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), n)) + 1]
        gaps = np.interp(rng.random(len(sizes) - 1), LEVELS, self.gaps)
        return np.repeat(np.concatenate([[0.0], np.cumsum(gaps)]), sizes)[:n]


Process = PiecewiseGamma | GapChain | Batches


def _rows(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def _shape(gaps: Floats) -> float:
    if len(gaps) < 2 or gaps.var() == 0:
        return SHAPES[1] if len(gaps) > 1 else 1.0
    return float(np.clip(gaps.mean() ** 2 / gaps.var(), *SHAPES))
