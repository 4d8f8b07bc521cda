"""Judges a preemptive run from its events alone, by the rules of memory; shares no code with the clockwork.

The rules:
  1. A block has one owner at most, and lies inside its memory (so KV never exceeds the capacity of either).
  2. From the moment a copy is issued until it has ended, neither its source nor its target is given back, and no step
     reads or writes KV of its owner on the GPU.
  3. A copy out moves exactly the blocks that the CPU copy lacks: those from the first one that is not wholly valid. A
     copy in moves exactly the valid prefix. Both go between the right blocks of the owner's tables.
  4. A step starts from KV that is there (computed by earlier steps, or copied in) and writes into blocks the owner has.
  5. A copy takes at least its bytes over the bandwidth of its link, and copies in one direction do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

from rota.core.errors import RuleViolation
from rota.serving.swap_audit import Event, Give, Moved, Step, Take

TOKENS = 16


def verify_swap(audit: Sequence[Event], blocks: int, cpu_blocks: int, seconds_per_block: float = 0.0) -> None:
    """Check the events of a run.

    Args:
        audit: `PreemptiveRun.audit`.
        blocks, cpu_blocks: sizes of the two memories, in blocks.
        seconds_per_block: time a block takes on the link at full bandwidth.

    Raises:
        RuleViolation: broken rules, one sentence each: up to a hundred, or to a block that cannot be had.
    """
    judge = _Judge(blocks, cpu_blocks, seconds_per_block)
    for event in audit:
        judge.see(event)
        if judge.unsound or len(judge.violations) >= 100:
            break
    if judge.violations:
        raise RuleViolation(judge.violations)


class _Judge:
    """Replays the events on bitmaps: whose is each block, and what KV lies in the blocks of each owner."""

    def __init__(self, blocks: int, cpu_blocks: int, seconds_per_block: float) -> None:
        self.violations: list[str] = []
        self.seconds_per_block = seconds_per_block
        self.holder: dict[str, list[int | None]] = {"gpu": [None] * blocks, "cpu": [None] * cpu_blocks}
        self.table: dict[tuple[str, int], list[int]] = {}
        self.present: dict[int, int] = {}
        self.valid: dict[int, int] = {}
        self.copies: dict[int, Moved] = {}
        self.link_busy_until = {True: 0.0, False: 0.0}
        self.now = 0.0
        self.unsound = False

    def see(self, event: Event) -> None:
        """Judge one event."""
        if event.time < self.now:
            self._fault(f"time runs backwards at {event.time:g}")
        self.now = event.time
        if isinstance(event, Take):
            self._take(event)
        elif isinstance(event, Give):
            self._give(event)
        elif isinstance(event, Moved):
            self._moved(event)
        else:
            self._step(event)

    def _take(self, event: Take) -> None:
        holder = self.holder[event.memory]
        for block in event.blocks:
            if not 0 <= block < len(holder):
                self._fault(f"{event.memory} block {block} lies outside its memory of {len(holder)}")
            elif holder[block] is not None:
                self._fault(f"{event.memory} block {block} goes to {event.owner} while {holder[block]} has it")
            else:
                holder[block] = event.owner
                continue
            self.unsound = True
        self._table(event.memory, event.owner).extend(event.blocks)

    def _give(self, event: Give) -> None:
        table = self._table(event.memory, event.owner)
        if table[len(table) - len(event.blocks) :] != list(event.blocks):
            self._fault(f"{event.owner} gives back {event.memory} blocks that are not the last of its table")
            return
        del table[len(table) - len(event.blocks) :]
        if self._in_flight(event.owner):
            self._fault(f"{event.memory} blocks of {event.owner} are given back under a copy")
        for block in event.blocks:
            self.holder[event.memory][block] = None
        known = self.present if event.memory == "gpu" else self.valid
        known[event.owner] = min(known.get(event.owner, 0), TOKENS * len(table))

    def _moved(self, event: Moved) -> None:
        if self._in_flight(event.owner):
            self._fault(f"a second copy of {event.owner} is issued under the first")
        source = self.present if event.outward else self.valid
        if event.tokens != source.get(event.owner, 0):
            self._fault(f"a copy of {event.owner} claims {event.tokens} tokens where {source.get(event.owner, 0)} are")
        first = self.valid.get(event.owner, 0) // TOKENS if event.outward else 0
        last = -(-event.tokens // TOKENS)
        for memory, moved in (("gpu", event.gpu), ("cpu", event.cpu)):
            if list(moved) != self._table(memory, event.owner)[first:last] or len(moved) != last - first:
                self._fault(f"a copy of {event.owner} moves other {memory} blocks than those from {first} to {last}")
        self._link(event)
        (self.valid if event.outward else self.present)[event.owner] = event.tokens
        self.copies[event.owner] = event

    def _link(self, event: Moved) -> None:
        if event.start < max(event.time, self.link_busy_until[event.outward]):
            self._fault(f"a copy of {event.owner} starts at {event.start:g} before its link is free")
        if event.end - event.start < len(event.gpu) * self.seconds_per_block * (1 - 1e-9):
            self._fault(f"a copy of {event.owner} is faster than its link")
        self.link_busy_until[event.outward] = event.end

    def _step(self, event: Step) -> None:
        for owner, before, after in zip(event.owners, event.before, event.after, strict=True):
            if self._in_flight(owner):
                self._fault(f"a step at {event.time:g} uses KV of {owner} under a copy")
            if before != self.present.get(owner, 0):
                self._fault(
                    f"a step at {event.time:g} reads {before} tokens of {owner}; {self.present.get(owner, 0)} are there"
                )
            if not before < after <= TOKENS * len(self._table("gpu", owner)):
                self._fault(f"a step at {event.time:g} writes {owner} up to {after}, beyond its blocks, or nothing")
            self.present[owner] = after

    def _in_flight(self, owner: int) -> bool:
        return owner in self.copies and self.copies[owner].end > self.now

    def _table(self, memory: str, owner: int) -> list[int]:
        return self.table.setdefault((memory, owner), [])

    def _fault(self, sentence: str) -> None:
        self.violations.append(sentence)
