"""A curriculum that walks each group of items through a lattice of difficulty (We-Math 2.0, dynamic scheduling RL).

A group is one seed problem and its variants, harder along some axes: s (more steps), v (visual), c (contextual). Its walk goes
x0 -> s -> s+v -> s+c -> s+v+c, one node at a time. A group advances when the Wilson lower bound of its success rate at a node
reaches a threshold. When it fails at a node, easier items come first: after a failed advance along the step axis a knowledge
increment (problems on the new knowledge points), otherwise a modality increment (the variants that are harder along one of the
other axes alone). Then the node is tried again. Tries are bounded, so that every group completes or is set aside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from rota.core.errors import InputError
from rota.training.samples.policy import BatchPolicy, Item, Result, State

PATH = ("", "s", "s+v", "s+c", "s+v+c")
Node = frozenset[str]


def node(text: str) -> Node:
    """The node that a text such as `s+v` names; the empty text is the origin."""
    return frozenset(text.split("+")) if text else frozenset()


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a success rate (1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    p, spread = successes / trials, z * z / trials
    centre, half = p + spread / 2, z * math.sqrt(p * (1 - p) / trials + spread / (4 * trials))
    return max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))


@dataclass
class Walk:
    """Where a group stands.

    Attributes:
        place: index into the group's path.
        increment: whether easier items are served before the node is tried again.
        status: `walking`, `completed` or `set aside`.
        won, tried: successes and rollouts since the group came to where it stands.
        failures: failures at each node of the path, ever.
        aided: increments begun, ever.
        served: slots of batches that the group has had.
        since: number of the first batch of the present try; results of earlier batches belong to an earlier try.
    """

    place: int = 0
    increment: bool = False
    status: str = "walking"
    won: int = 0
    tried: int = 0
    failures: list[int] = field(default_factory=list)
    aided: int = 0
    served: int = 0
    since: int = 0

    def go(self, place: int, batch: int, increment: bool = False) -> None:
        """To another place or try, where counting begins anew with the batch of this number."""
        self.place, self.increment, self.won, self.tried, self.since = place, increment, 0, 0, batch
        self.aided += increment


class LatticeCurriculum(BatchPolicy):
    """Per group: walk the path, promote on a Wilson bound, serve increments after failures, give up after bounded tries.

    Args:
        items: with groups and coordinates along `axes`; those with a coordinate along `knowledge` are knowledge increments.
        seed: root seed of the draws.
        axes: of difficulty; the first is the step axis.
        path: nodes, as `s+v`; nodes for which a group has no items are passed over in its walk.
        knowledge: axis that marks knowledge increments.
        increments: nodes to serve after a failure at a node, instead of the paper's; `{"s": ("k",)}`.
        promote: the lower bound of the success rate that completes a node.
        demote: from its second failure at a node on, an upper bound of at most this sends a group one node back; 0 never does.
        max_retry: failures at a node after the first that are followed by another try.
        trials: rollouts after which an undecided try counts as a failure, and an increment ends.
        z: normal quantile of the Wilson bounds.
        correct: rewards above this are successes.
        staleness: see `SamplePolicy.staleness`.

    Raises:
        InputError: no axes, a node or increment off the axes, thresholds that no number of trials can reach, a group off the path.
    """

    def __init__(
        self,
        items: Iterable[Item],
        seed: int = 0,
        *,
        axes: Sequence[str] = ("s", "v", "c"),
        path: Sequence[str] = PATH,
        knowledge: str = "k",
        increments: Mapping[str, Sequence[str]] | None = None,
        promote: float = 0.6,
        demote: float = 0.35,
        max_retry: int = 3,
        trials: int = 32,
        z: float = 1.96,
        correct: float = 0.5,
        staleness: int = 1,
    ) -> None:
        super().__init__(items, seed, staleness)
        if not axes:
            raise InputError("axes", "none", "at least one, the first of which is the step axis")
        self.promote, self.demote, self.max_retry, self.trials = promote, demote, max_retry, trials
        self.z, self.correct = z, correct
        self.path = [_known(text, {*axes, knowledge}) for text in path]
        self._check_thresholds()
        given = increments or {}
        off = next((at for at in given if node(at) not in self.path), None)
        if off is not None or not self.path:
            raise InputError(
                "increments" if self.path else "path", repr(off or ()), "a node of the path, and at least one node"
            )
        named = {
            _known(at, {*axes, knowledge}): [_known(n, {*axes, knowledge}) for n in to] for at, to in given.items()
        }
        self.increments = {at: named.get(at, usual_increments(at, axes[0], knowledge)) for at in self.path}
        self._pools = self._sort_items()
        self._paths = {group: self._own_path(group) for group in sorted({i.group for i in self.items.values()})}
        self.walks = {group: Walk(failures=[0] * len(path)) for group, path in self._paths.items()}
        self.shown = dict.fromkeys(self.items, 0)

    @property
    def finished(self) -> bool:
        """Whether, when the last batch was drawn, every group had completed or was set aside; all items are served evenly then."""
        return not any(walk.status == "walking" for walk in self.walks.values())

    def at(self, group: str) -> tuple[Node, ...]:
        """The nodes whose items a group is served now."""
        walk = self.walks[group]
        here = self._paths[group][walk.place]
        return tuple(self._aids(group, here)) if walk.increment else (here,)

    def heeds(self, item: str, batch: int) -> bool:
        """Whether the batch was drawn in the present try of the item's group."""
        return batch >= self.walks[self.items[item].group].since

    def settle(self, results: Sequence[Result]) -> None:
        """Credit the rewards to the groups that stand where the items are, then move each of those groups."""
        touched = set()
        for name, rewards in results:
            item = self.items[name]
            walk = self.walks[item.group]
            if walk.status == "walking" and item.node in self.at(item.group):
                walk.won += sum(reward > self.correct for reward in rewards)
                walk.tried += len(rewards)
                touched.add(item.group)
        for group in sorted(touched):
            self._move(group)

    def decide(self, count: int, rng: np.random.Generator) -> list[str]:
        """A slot for each walking group, least served first, round after round; items least shown first."""
        walking = [group for group, walk in self.walks.items() if walk.status == "walking"]
        if not walking:
            return self._review(count, rng)
        groups = [walking[k] for k in rng.permutation(len(walking))]
        groups.sort(key=lambda group: self.walks[group].served)
        batch: list[str] = []
        for slot in range(count):
            group = groups[slot % len(groups)]
            batch.append(self._least_shown(self._serving(group), rng))
            self.walks[group].served += 1
        return batch

    def memory(self) -> State:
        """Every group's walk, and how often each item was shown."""
        return {"walks": {group: asdict(walk) for group, walk in self.walks.items()}, "shown": dict(self.shown)}

    def recall(self, memory: State) -> None:
        """Take what `memory` gave."""
        walks, shown = {group: Walk(**walk) for group, walk in memory["walks"].items()}, dict(memory["shown"])
        if walks.keys() != self.walks.keys() or shown.keys() != self.shown.keys():
            raise InputError("state: memory", "other groups or items", "a walk of every group, a count of every item")
        for group, walk in walks.items():
            walk.failures = [walk.failures[place] for place in range(len(self._paths[group]))]
            self._paths[group][walk.place]
        self.walks, self.shown = walks, shown

    # -- the walk

    def _move(self, group: str) -> None:
        walk = self.walks[group]
        low, high = wilson(walk.won, walk.tried, self.z)
        if walk.increment:
            if low >= self.promote or walk.tried >= self.trials:
                walk.go(walk.place, self.drawn)
        elif low >= self.promote:
            self._advance(group)
        elif high < self.promote or walk.tried >= self.trials:
            self._fail(group, high)

    def _advance(self, group: str) -> None:
        walk = self.walks[group]
        if walk.place + 1 == len(self._paths[group]):
            walk.status = "completed"
        else:
            walk.go(walk.place + 1, self.drawn)

    def _fail(self, group: str, high: float) -> None:
        walk = self.walks[group]
        walk.failures[walk.place] += 1
        if walk.failures[walk.place] > self.max_retry:
            walk.status = "set aside"
        elif walk.failures[walk.place] > 1 and high <= self.demote and walk.place > 0:
            walk.go(walk.place - 1, self.drawn)
        else:
            walk.go(walk.place, self.drawn, increment=bool(self._aids(group, self._paths[group][walk.place])))

    # -- items

    def _serving(self, group: str) -> list[str]:
        return [name for where in self.at(group) for name in self._pools[group, where]]

    def _review(self, count: int, rng: np.random.Generator) -> list[str]:
        """All items, least shown first."""
        names = sorted(self.items)
        order = sorted((names[k] for k in rng.permutation(len(names))), key=self.shown.__getitem__)
        batch = [order[slot % len(order)] for slot in range(count)]
        for name in batch:
            self.shown[name] += 1
        return batch

    def _least_shown(self, pool: Sequence[str], rng: np.random.Generator) -> str:
        least = min(self.shown[name] for name in pool)
        fresh = [name for name in pool if self.shown[name] == least]
        chosen = fresh[int(rng.integers(len(fresh)))]
        self.shown[chosen] += 1
        return chosen

    def _aids(self, group: str, here: Node) -> list[Node]:
        return [aid for aid in self.increments[here] if (group, aid) in self._pools]

    def _sort_items(self) -> dict[tuple[str, Node], list[str]]:
        pools: dict[tuple[str, Node], list[str]] = {}
        for name in sorted(self.items):
            pools.setdefault((self.items[name].group, self.items[name].node), []).append(name)
        return pools

    def _own_path(self, group: str) -> list[Node]:
        own = [here for here in self.path if (group, here) in self._pools]
        if not own:
            raise InputError(f"group {group!r}", "no item on the path", f"one at {', '.join(map(_text, self.path))}")
        return own

    def _check_thresholds(self) -> None:
        best = wilson(self.trials, self.trials, self.z)[0]
        if not 0 < self.promote <= best:
            found = f"{self.promote:g} after {self.trials} trials"
            raise InputError("promote", found, f"a bound from 0 to {best:.3f}, which all of them right would give")
        if not 0 <= self.demote < self.promote or self.max_retry < 0:
            found = f"demote {self.demote:g}, max_retry {self.max_retry}"
            raise InputError("demote, max_retry", found, f"0 <= demote < promote = {self.promote:g} and max_retry >= 0")


def usual_increments(at: Node, step: str, knowledge: str) -> list[Node]:
    """The paper's increments: knowledge where the step axis alone was added, else each of the other axes of the node alone."""
    if at == {step}:
        return [frozenset({knowledge})]
    return [frozenset({axis}) for axis in sorted(at - {step})] if step in at else []


def _known(text: str, axes: set[str]) -> Node:
    found = node(text)
    if not found <= axes:
        raise InputError("node", repr(text), f"axes among {', '.join(sorted(axes))}, joined by +")
    return found


def _text(at: Node) -> str:
    return "+".join(sorted(at)) or "the origin"
