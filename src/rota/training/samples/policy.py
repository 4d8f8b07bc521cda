"""Sample policies: which items a training loop sees next, decided batch by batch from what came of the earlier ones.

A policy is told the rewards of items by name (`observe`), and answers with the names of the next batch (`next`). It reads no
clock and draws no unseeded number: equal seeds and equal observations give equal batches, on every rank. Observations count
from the next batch on and their order within a batch does not matter; a policy that was saved at any point goes on as if it
had never stopped: its next batch is the next that it would have drawn. Batches that were drawn and not finished are a loader's
matter. A policy with a staleness names them (`open_batches`); one of staleness None knows only how many it drew, so that a loader
resumes with its sampler's own state (`rows.BatchRows`), or sends the policy back (`go_to`).
"""

from __future__ import annotations

import hashlib
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream

State = dict[str, Any]
"""Plain data: what `json.dumps` takes and `json.loads` gives back unchanged."""

Result = tuple[str, tuple[float, ...]]
"""An item's name and the rewards of its rollouts, ascending."""

BROKEN = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a state can raise that no `state_dict` gave."""

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """Something that can be trained on.

    Attributes:
        id: its name, unique.
        group: what it shares with its variants, e.g. the principle it exercises.
        coordinates: how far it lies along each axis of difficulty; an axis that is not named is at 0.
    """

    id: str
    group: str = ""
    coordinates: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def node(self) -> frozenset[str]:
        """The axes along which it is not at 0."""
        return frozenset(axis for axis, value in self.coordinates.items() if value)


@runtime_checkable
class SamplePolicy(Protocol):
    """What a training loop asks of a policy."""

    @property
    def items(self) -> Mapping[str, Item]:
        """What there is to draw, by name."""

    @property
    def staleness(self) -> int | None:
        """How many batches may be open (drawn, not all observed) when another is drawn; None: any number."""

    def observe(self, item: str, rewards: Sequence[float]) -> None:
        """The rewards of all rollouts of an item in a batch."""

    def next(self, count: int) -> list[str]:
        """The names of the next `count` items."""

    def state_dict(self) -> State:
        """Everything that the next batches depend on, as plain data."""

    def load_state_dict(self, state: State) -> None:
        """Go on from where `state_dict` was taken."""


class BatchPolicy(ABC):
    """What every policy here keeps: seeds, observations in canonical order, open batches, and the state of a resumed run.

    A subclass says what observations change (`settle`), what comes next (`decide`), and what it remembers (`memory`, `recall`).

    Args:
        items: what there is to draw.
        seed: root seed of the draws.
        staleness: see `SamplePolicy.staleness`.

    Raises:
        InputError: no items, two of one name, or a negative staleness.
    """

    def __init__(self, items: Iterable[Item], seed: int, staleness: int | None) -> None:
        listed = list(items)
        self._items = {item.id: item for item in listed}
        if not listed or len(self._items) < len(listed):
            names = [item.id for item in listed]
            twice = next((name for name in names if names.count(name) > 1), None)
            raise InputError("items", "none" if twice is None else f"{twice!r} twice", "items of different names")
        if staleness is not None and staleness < 0:
            raise InputError("staleness", str(staleness), "at least 0")
        self.seed, self._staleness = seed, staleness
        self.drawn = 0
        self._pending: list[tuple[str, tuple[float, ...], int]] = []
        self._open: list[tuple[list[str], set[str], int]] = []

    @property
    def items(self) -> Mapping[str, Item]:
        """What there is to draw, by name."""
        return self._items

    @property
    def staleness(self) -> int | None:
        """See `SamplePolicy.staleness`."""
        return self._staleness

    @property
    def open_batches(self) -> list[list[str]]:
        """Batches that were drawn and have items without a result, oldest first."""
        return [list(batch) for batch, *_ in self._open]

    @abstractmethod
    def settle(self, results: Sequence[Result]) -> None:
        """Learn from results, which come in an order that does not depend on how they were reported."""

    def heeds(self, item: str, batch: int) -> bool:
        """Whether a result of an item, drawn in a batch of this number (from 0), still tells anything; else it is not settled."""
        return True

    @abstractmethod
    def decide(self, count: int, rng: np.random.Generator) -> list[str]:
        """The next `count` names; `rng` belongs to this batch alone."""

    @abstractmethod
    def memory(self) -> State:
        """What `settle` and `decide` have changed, as plain data."""

    @abstractmethod
    def recall(self, memory: State) -> None:
        """Take what `memory` gave."""

    def observe(self, item: str, rewards: Sequence[float]) -> None:
        """The rewards of all rollouts of an item in a batch; they close the item in the oldest open batch that holds it.

        Raises:
            InputError: no such item, no rewards, or a reward that is not a finite number.
        """
        if item not in self.items:
            raise InputError("observe", repr(item), f"the name of one of {len(self.items)} items")
        try:
            found = tuple(sorted(float(reward) for reward in rewards))
        except (TypeError, ValueError):
            found = ()
        if not found or not all(math.isfinite(reward) for reward in found):
            raise InputError(f"rewards of {item!r}", str(rewards), "at least one number, all finite, in a sequence")
        self._pending.append((item, found, self._close(item)))

    def next(self, count: int) -> list[str]:
        """The next `count` names.

        Raises:
            InputError: a count that is no whole number above 0, or more open batches than the staleness allows.
        """
        count = _whole(count)
        if self._staleness is not None and len(self._open) > self._staleness:
            limit = f"at most {self._staleness} (the staleness of this {type(self).__name__}) when another is drawn"
            raise InputError("next", f"{len(self._open)} batches whose rewards were not all observed", limit)
        self._absorb()
        batch = self.decide(count, stream(self.seed, "samples", type(self).__name__, self.drawn))
        if self._staleness is not None:
            self._open.append((batch, set(batch), self.drawn))
        self.drawn += 1
        return list(batch)

    def state_dict(self) -> State:
        """Everything that the next batches depend on, as plain data."""
        waiting = [{"batch": list(batch), "waiting": sorted(names), "number": n} for batch, names, n in self._open]
        pending = [[item, list(rewards), number] for item, rewards, number in sorted(self._pending)]
        head = {"policy": type(self).__name__, "seed": self.seed, "items": self._digest(), "drawn": self.drawn}
        return {**head, "pending": pending, "open": waiting, "memory": self.memory()}

    def load_state_dict(self, state: State) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            InputError: the state of another policy, seed or list of items, or what no `state_dict` gave.
        """
        try:
            self._check_own(state)
            drawn = operator.index(state["drawn"])
            pending = [(item, tuple(rewards), number) for item, rewards, number in state["pending"]]
            waiting = [(list(entry["batch"]), set(entry["waiting"]), entry["number"]) for entry in state["open"]]
            self.recall(state["memory"])
        except BROKEN as error:
            found = f"a broken one ({type(error).__name__}: {error})"
            raise InputError("state", found, f"what the `state_dict` of a {type(self).__name__} gave") from error
        self.drawn, self._pending, self._open = drawn, pending, waiting

    def _check_own(self, state: State) -> None:
        for key, value in {"policy": type(self).__name__, "seed": self.seed}.items():
            if state.get(key) != value:
                raise InputError(f"state: {key}", repr(state.get(key)), f"{value!r}, as in this policy")
        if state.get("items") != self._digest():
            expected = f"the {len(self.items)} items (names, groups, coordinates, order) as in this policy"
            raise InputError("state: items", "a state that belongs to other items", expected)

    def _absorb(self) -> None:
        self.settle(sorted((item, rewards) for item, rewards, batch in self._pending if self.heeds(item, batch)))
        self._pending = []

    def _close(self, item: str) -> int:
        """Close an item in the oldest open batch that holds it. Returns: that batch's number; else that of the item's last
        pending result; else the next batch's, for the result is news."""
        for entry in self._open:
            _, waiting, number = entry
            if item in waiting:
                waiting.discard(item)
                if not waiting:
                    self._open.remove(entry)
                return number
        return max((number for name, _, number in self._pending if name == item), default=self.drawn)

    def _digest(self) -> str:
        places = [sorted((axis, float(value)) for axis, value in i.coordinates.items()) for i in self.items.values()]
        words = [f"{i.id}\x1f{i.group}\x1f{at}" for i, at in zip(self.items.values(), places, strict=True)]
        return hashlib.blake2b("\x1e".join(words).encode(), digest_size=8).hexdigest()


def _whole(count: int) -> int:
    try:
        found = operator.index(count)
    except TypeError:
        found = 0
    if found < 1:
        raise InputError("next", f"{count!r} items", "a whole number of them, at least 1")
    return found


def shard(batch: Sequence[T], rank: int, ranks: int) -> list[T]:
    """The part of a decided batch that belongs to one rank: every rank's part is of equal length, and they make up the whole.

    Raises:
        InputError: no such rank, or a batch that does not divide by the number of ranks.
    """
    if not 0 <= rank < ranks:
        raise InputError("rank", str(rank), f"one from 0 to {ranks - 1}")
    if len(batch) % ranks:
        raise InputError("batch", f"{len(batch)} items", f"a multiple of the {ranks} ranks")
    each = len(batch) // ranks
    return list(batch[rank * each : (rank + 1) * each])
