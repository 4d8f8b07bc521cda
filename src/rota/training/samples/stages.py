"""Stages of a run: which items with which objective, for how long, and what happens to reference and optimizer in between.

TEMPLE aligns in four stages of growing difficulty and fine-tunes afterwards. Run as separate jobs, each stage starts with a new
reference model (the last stage's result) and a new optimizer. Here that is one run that can stop and resume anywhere:

    StageSchedule(items, [
        Stage("r16", {"magnitude": 16}, "dpo", 1.0),
        Stage("r2", {"magnitude": 2}, "dpo", 1.0),
        Stage("sft", {"clean": 1}, "sft"),
    ], batch=16)
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rota.core.errors import InputError
from rota.training.samples.policy import BatchPolicy, Item, Result, State
from rota.training.samples.uniform import passes

Filter = Callable[[Item], bool] | Mapping[str, float]


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        name: unique in its schedule.
        only: which items it draws: coordinates they must have, or a function of the item; None draws all.
        objective: what is optimised, in the training loop's own words.
        until: steps if an int, passes over its items if a float; None (the last stage only): to the end of the run.
        reference: at its beginning, `rebase` makes the present model the reference model, `keep` leaves it.
        optimizer: at its beginning, `reset` forgets the optimizer's state, `keep` leaves it.
    """

    name: str
    only: Filter | None = None
    objective: str = "dpo"
    until: int | float | None = None
    reference: Literal["rebase", "keep"] = "rebase"
    optimizer: Literal["reset", "keep"] = "reset"

    def __post_init__(self) -> None:
        if self.until is not None and not (self.until > 0 and math.isfinite(self.until)):
            raise InputError(f"stage {self.name!r}: until", f"{self.until:g}", "steps or passes above 0, or None")
        for key, value, allowed in (
            ("reference", self.reference, ("rebase", "keep")),
            ("optimizer", self.optimizer, ("reset", "keep")),
        ):
            if value not in allowed:
                raise InputError(f"stage {self.name!r}: {key}", repr(value), " or ".join(map(repr, allowed)))

    def takes(self, item: Item) -> bool:
        """Whether the stage draws an item."""
        if self.only is None:
            return True
        if callable(self.only):
            return self.only(item)
        return all(item.coordinates.get(axis, 0) == value for axis, value in self.only.items())


class StageSchedule(BatchPolicy):
    """One stage after the other; within a stage, pass after pass over its items in random order. A batch is one step.

    Args:
        items: of all stages.
        stages: in order.
        batch: items a step.
        seed: root seed of the orders.
        total: steps of the run, if they are known: every stage must begin before.

    Attributes:
        begins: the step at which each stage begins.
        total: steps after which the last stage ends, or those of the run; None if neither is known.

    Raises:
        InputError: a stage that cannot be reached: it has no items, follows one without an end, or begins after the run; two
            stages of one name; no stages.
    """

    def __init__(
        self, items: Iterable[Item], stages: Sequence[Stage], batch: int, seed: int = 0, *, total: int | None = None
    ) -> None:
        super().__init__(items, seed, None)
        self.stages, self.batch = tuple(stages), batch
        if batch < 1:
            raise InputError("batch", str(batch), "at least 1")
        _check_names(self.stages)
        self._pools = [sorted(item.id for item in self.items.values() if stage.takes(item)) for stage in self.stages]
        lengths = [_steps(stage, len(pool), batch) for stage, pool in zip(self.stages, self._pools, strict=True)]
        self.begins = self._beginnings(lengths, total)
        last = lengths[-1]
        self.total = total if total is not None else None if last is None else self.begins[-1] + last

    @property
    def step(self) -> int:
        """The step that the next batch is for."""
        return self.drawn

    def go_to(self, batches: int, count: int) -> None:
        """To where the schedule stood after so many batches: draws depend on nothing else.

        Raises:
            InputError: another count than the schedule's batch.
        """
        self._check_count(count)
        self.drawn = batches

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to; the last one goes on for as long as it is asked.

        Raises:
            InputError: a negative step.
        """
        return self.stages[self._index(step)]

    def entered(self, step: int) -> Stage | None:
        """The stage that begins at a step, where reference and optimizer may have to change; None within a stage."""
        return self.stage(step) if step in self.begins else None

    def settle(self, results: Sequence[Result]) -> None:
        """Nothing to learn: stages end by the count of steps."""

    def decide(self, count: int, rng: np.random.Generator) -> list[str]:
        """The next stretch of the stage's passes.

        Raises:
            InputError: another count than the schedule's batch.
        """
        self._check_count(count)
        index = self._index(self.drawn)
        position = (self.drawn - self.begins[index]) * count
        return passes(self._pools[index], position, count, self.seed, self.stages[index].name)

    def memory(self) -> State:
        """The stages' names: where the run stands is the number of batches drawn."""
        return {"stages": [stage.name for stage in self.stages], "begins": list(self.begins)}

    def recall(self, memory: State) -> None:
        """Check that the stages are the same.

        Raises:
            InputError: they are not.
        """
        if memory != self.memory():
            raise InputError("state: stages", f"{memory}", f"{self.memory()}, as in this schedule")

    def _check_count(self, count: int) -> None:
        if count != self.batch:
            raise InputError("next", f"{count} items", f"{self.batch}, the batch of this schedule")

    def _index(self, step: int) -> int:
        if step < 0:
            raise InputError("step", str(step), "at least 0")
        return bisect_right(self.begins, step) - 1

    def _beginnings(self, lengths: Sequence[int | None], total: int | None) -> tuple[int, ...]:
        begins = [0]
        for stage, length, after in zip(self.stages, lengths, self.stages[1:], strict=False):
            if length is None:
                where = f"stage {after.name!r}"
                raise InputError(
                    where, f"unreachable, for {stage.name!r} has no end", "an `until` in every stage but the last"
                )
            begins.append(begins[-1] + length)
        if total is not None and begins[-1] >= total:
            late = next(stage.name for stage, begin in zip(self.stages, begins, strict=True) if begin >= total)
            raise InputError(
                f"stage {late!r}", "unreachable, for it begins after the run", f"a beginning before step {total}"
            )
        return tuple(begins)


def _check_names(stages: Sequence[Stage]) -> None:
    names = [stage.name for stage in stages]
    if not names or len(set(names)) < len(names):
        raise InputError("stages", ", ".join(names) or "none", "at least one, of different names")


def _steps(stage: Stage, items: int, batch: int) -> int | None:
    if not items:
        raise InputError(f"stage {stage.name!r}", "unreachable, for no item passes its filter", "at least one item")
    if isinstance(stage.until, float):
        return max(1, math.ceil(stage.until * items / batch - 1e-9))
    return stage.until
