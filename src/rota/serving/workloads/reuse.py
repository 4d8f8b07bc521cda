"""How requests share prefixes: what part of a prompt was asked before, and how long ago."""

from __future__ import annotations

from bisect import bisect_right

import msgspec
import numpy as np

from rota.serving.model import Floats, Ints, Workload

LEVELS = np.linspace(0, 1, 33)


class PrefixReuse(msgspec.Struct, frozen=True):
    """Prefix structure without session identities (Mooncake's trace has none).

    Attributes:
        chunk: tokens that a hash covers.
        shared: chunks that every request begins with.
        continues: share of the requests that reuse more than these, by bin of prompt chunks.
        edges: upper ends of the bins but the last, chunks.
        depth: for each bin, quantiles of the share of its chunks that such a request reuses.
        age: quantiles of the seconds since the last of them was last asked for.
    """

    chunk: int
    shared: int
    continues: tuple[float, ...]
    edges: tuple[float, ...]
    depth: tuple[tuple[float, ...], ...]
    age: tuple[float, ...]

    @classmethod
    def fit(cls, workload: Workload) -> PrefixReuse | None:
        """Measure the reuse of a trace with a cache that forgets nothing; None where there are no prefixes."""
        length = np.diff(workload.prefix_start)
        if not length.any():
            return None
        reused, age = measure(workload)
        shared = int(np.quantile(reused[1:], 0.005)) if len(reused) > 1 else 0
        more = (reused > shared) & (length > 0)
        edges = np.unique(np.quantile(length, np.linspace(0, 1, 9)[1:-1]))
        bins = np.searchsorted(edges, length)
        depth = [reused[more & (bins == b)] / length[more & (bins == b)] for b in range(len(edges) + 1)]
        return cls(
            workload.prefix_chunk, shared,
            tuple(float(more[bins == b].mean()) if (bins == b).any() else 0.0 for b in range(len(edges) + 1)),
            tuple(edges.tolist()), tuple(_quantiles(values) for values in depth), _quantiles(age[more]),
        )  # fmt: skip

    def sample(self, rng: np.random.Generator, arrival: Floats, prompt: Ints) -> tuple[Ints, Ints]:
        """Chains of prefix hashes for requests in order of arrival: `prefix_start` and `prefix_hash` of a
        `Workload`."""
        length = -(-prompt // self.chunk)
        bins = np.searchsorted(self.edges, length)
        more = rng.random(len(prompt)) < np.array(self.continues)[bins]
        level, ago = rng.random(len(prompt)), np.interp(rng.random(len(prompt)), LEVELS, self.age)
        wanted = np.minimum(self.shared, length)
        for b in range(len(self.depth)):
            rows = more & (bins == b)
            depth = np.interp(level[rows], LEVELS, self.depth[b]) * length[rows]
            wanted[rows] = np.clip(np.rint(depth), np.minimum(self.shared + 1, length[rows]), length[rows])
        chains = _link(arrival.tolist(), length.tolist(), wanted.tolist(), ago.tolist(), self.shared)
        return np.concatenate([[0], np.cumsum(length)]), np.concatenate(chains)


def measure(workload: Workload) -> tuple[Ints, Floats]:
    """(n,) chunks that an earlier request had asked for, and (n,) seconds since the last of these was last asked for
    (0: none)."""
    touched: dict[int, float] = {}
    reused, age = np.zeros(len(workload), dtype=np.int64), np.zeros(len(workload))
    start, hashes = workload.prefix_start.tolist(), workload.prefix_hash.tolist()
    for i, now in enumerate(workload.arrival.tolist()):
        chain = hashes[start[i] : start[i + 1]]
        known = next((k for k, h in enumerate(chain) if h not in touched), len(chain))
        if known:
            reused[i], age[i] = known, now - touched[chain[known - 1]]
        touched.update(dict.fromkeys(chain, now))
    return reused, age


def _link(arrival: list[float], length: list[int], wanted: list[int], ago: list[float], shared: int) -> list[Ints]:
    """Each request takes the beginning of an earlier chain that is long enough, asked for about `ago` seconds
    before."""
    chains: list[Ints] = []
    fresh = shared
    common = np.arange(shared)
    for i, now in enumerate(arrival):
        source = (
            _nearest(length, bisect_right(arrival, now - ago[i], 0, i), i, wanted[i]) if wanted[i] > shared else None
        )
        begin = common[: length[i]] if source is None else chains[source][: wanted[i]]
        rest = length[i] - len(begin)
        chains.append(np.concatenate([begin, np.arange(fresh, fresh + rest)]))
        fresh += rest
    return chains


def _nearest(length: list[int], at: int, below: int, least: int) -> int | None:
    """The row before `below` nearest to `at` whose length is at least `least`."""
    low, high = at - 1, at
    while low >= 0 or high < below:
        if low >= 0:
            if length[low] >= least:
                return low
            low -= 1
        if high < below:
            if length[high] >= least:
                return high
            high += 1
    return None


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(values, LEVELS).tolist()) if len(values) else (0.0,) * len(LEVELS)
