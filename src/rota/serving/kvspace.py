"""Memory for KV as addresses: which blocks each owner holds, and how many contiguous copies it takes to move them.

An address is the index of a 16-token block. An allocator decides which free addresses an owner gets; `KVSpace` keeps
the block tables on top of it. Three allocators, by name in `ALLOCATORS`: `paged` (a stack of free blocks, as in vLLM
0.3.3), `sorted` (lowest address first), `groups` (FastSwitch's dynamic block groups, arXiv 2411.18424, section 3).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from rota.core.errors import InputError, UnknownName


class Allocator(Protocol):
    """Hands out addresses of one memory. `free` counts the blocks that no owner holds."""

    free: int

    def take(self, owner: int, count: int, after: int) -> list[int]:
        """`count` free addresses (`count <= free`) for an owner whose last block is at `after` (-1: it has none)."""
        ...

    def give(self, owner: int, addresses: Sequence[int]) -> None:
        """Take back addresses of an owner, and whatever was set aside for it."""
        ...


class FreeStack:
    """Paged: the block freed last is handed out first, so that a request's blocks soon lie anywhere."""

    def __init__(self, blocks: int) -> None:
        self.free = blocks
        self._stack = list(range(blocks - 1, -1, -1))

    def take(self, owner: int, count: int, after: int) -> list[int]:
        """The `count` blocks freed last."""
        self.free -= count
        return [self._stack.pop() for _ in range(count)]

    def give(self, owner: int, addresses: Sequence[int]) -> None:
        """Put the blocks on the stack, in the order of the table."""
        self.free += len(addresses)
        self._stack.extend(addresses)


class SortedFreeList:
    """Paged, lowest address first: neighbours come together by themselves, as far as they are free."""

    def __init__(self, blocks: int) -> None:
        self.free = blocks
        self._heap = list(range(blocks))

    def take(self, owner: int, count: int, after: int) -> list[int]:
        """The `count` lowest free addresses."""
        self.free -= count
        return [heapq.heappop(self._heap) for _ in range(count)]

    def give(self, owner: int, addresses: Sequence[int]) -> None:
        """Free the blocks."""
        self.free += len(addresses)
        for address in addresses:
            heapq.heappush(self._heap, address)


class BlockGroups:
    """Contiguous groups: an owner gets a large group and fills it block by block; the unused tail stays its own.

    When no free group is left, the unused tail of another owner's group is split. Neighbours merge when they are freed.

    Args:
        blocks: blocks in all.
        group: blocks of a new group, unless more are asked for at once (FastSwitch: about 60, that is 1,000 tokens).
    """

    def __init__(self, blocks: int, group: int = 60) -> None:
        self.free = blocks
        self.group = group
        self._end_of = {0: blocks}
        self._start_of = {blocks: 0}
        self._sizes = [(blocks, 0)]
        self._tails: dict[int, tuple[int, int]] = {}

    def take(self, owner: int, count: int, after: int) -> list[int]:
        """`count` blocks from the owner's tail, then from new groups."""
        taken: list[int] = []
        self.free -= count
        while (missing := count - len(taken)) > 0:
            tail = self._tails.pop(owner) if owner in self._tails else None
            start, end = tail or self._new_group(missing, taken[-1] if taken else after)
            stop = min(end, start + missing)
            taken.extend(range(start, stop))
            if stop < end:
                self._tails[owner] = (stop, end)
        return taken

    def give(self, owner: int, addresses: Sequence[int]) -> None:
        """Free the blocks and the owner's tail, merging neighbours."""
        self.free += len(addresses)
        for start, end in stretches(addresses):
            self._merge(start, end)
        if owner in self._tails:
            self._merge(*self._tails.pop(owner))

    def _new_group(self, missing: int, after: int) -> tuple[int, int]:
        """A group for an owner that lacks `missing` blocks: next to its last one, else the tightest fit, else any."""
        wanted = max(missing, self.group)
        if after + 1 in self._end_of:
            return self._cut(after + 1, wanted)
        fit = bisect_left(self._sizes, (wanted, 0))
        if fit < len(self._sizes):
            return self._cut(self._sizes[fit][1], wanted)
        size, start = self._sizes[-1] if self._sizes else (0, 0)
        donor = max(self._tails, key=self._tail_size, default=None) if size < missing else None
        if donor is None or size >= min(missing, self._tail_size(donor)):
            return self._cut(start, wanted)
        return self._split(donor)

    def _tail_size(self, owner: int) -> int:
        start, end = self._tails[owner]
        return end - start

    def _split(self, donor: int) -> tuple[int, int]:
        """The upper half of another owner's unused tail (all of it if it is one block)."""
        start, end = self._tails.pop(donor)
        middle = (start + end) // 2
        if middle > start:
            self._tails[donor] = (start, middle)
        return middle, end

    def _cut(self, start: int, wanted: int) -> tuple[int, int]:
        """The first `wanted` blocks of the free group at `start`, or all of it."""
        end = self._remove(start)
        if end - start > wanted:
            self._insert(start + wanted, end)
        return start, min(end, start + wanted)

    def _merge(self, start: int, end: int) -> None:
        """Free a stretch, joining it with the free groups on either side."""
        if end in self._end_of:
            end = self._remove(end)
        if start in self._start_of:
            start = self._start_of[start]
            self._remove(start)
        self._insert(start, end)

    def _insert(self, start: int, end: int) -> None:
        self._end_of[start], self._start_of[end] = end, start
        insort(self._sizes, (end - start, start))

    def _remove(self, start: int) -> int:
        end = self._end_of.pop(start)
        del self._start_of[end], self._sizes[bisect_left(self._sizes, (end - start, start))]
        return end


ALLOCATORS: dict[str, Callable[[int], Allocator]] = {
    "paged": FreeStack,
    "sorted": SortedFreeList,
    "groups": BlockGroups,
}


class KVSpace:
    """Block tables over one memory.

    Args:
        blocks: size of the memory.
        allocator: a name in `ALLOCATORS`.
        group: blocks of a new group, where the allocator has groups.

    Attributes:
        tables: owner -> addresses of its blocks, in the order of its tokens.
    """

    def __init__(self, blocks: int, allocator: str = "paged", group: int = 60) -> None:
        if allocator not in ALLOCATORS:
            raise UnknownName("KV allocator", allocator, ALLOCATORS)
        if group < 1:
            raise InputError("group", str(group), "at least 1 block")
        self.blocks = blocks
        self.tables: dict[int, list[int]] = {}
        self._allocator: Allocator = (
            BlockGroups(blocks, group) if allocator == "groups" else ALLOCATORS[allocator](blocks)
        )

    @property
    def free(self) -> int:
        """Blocks that no owner holds (those set aside in a group's tail count: another owner may split it)."""
        return self._allocator.free

    def held(self, owner: int) -> int:
        """Blocks of an owner."""
        return len(self.tables.get(owner, ()))

    def grow(self, owner: int, count: int) -> list[int]:
        """Append `count` blocks to an owner's table; returns their addresses.

        Raises:
            InputError: fewer than `count` blocks are free.
        """
        if count > self.free:
            raise InputError(f"blocks for owner {owner}", str(count), f"at most {self.free}, which are free")
        table = self.tables.setdefault(owner, [])
        taken = self._allocator.take(owner, count, table[-1] if table else -1)
        table.extend(taken)
        return taken

    def shrink(self, owner: int, count: int) -> list[int]:
        """Free the last `count` blocks of an owner; returns their addresses."""
        table = self.tables[owner]
        cut = table[len(table) - count :]
        del table[len(table) - count :]
        if not table:
            del self.tables[owner]
        self._allocator.give(owner, cut)
        return cut

    def release(self, owner: int) -> list[int]:
        """Free all blocks of an owner (it may have none); returns their addresses."""
        return self.shrink(owner, self.held(owner)) if owner in self.tables else []


def stretches(addresses: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Maximal stretches [start, end) of addresses that follow one another, in the order given."""
    start = end = None
    for address in addresses:
        if address != end:
            if start is not None and end is not None:
                yield start, end
            start = address
        end = address + 1
    if start is not None and end is not None:
        yield start, end


def runs(source: Sequence[int], target: Sequence[int]) -> int:
    """Contiguous copies that move `source` to `target`: stretches in which both addresses advance by one."""
    if not source:
        return 0
    breaks = (np.diff(np.array(source)) != 1) | (np.diff(np.array(target)) != 1)
    return 1 + int(np.count_nonzero(breaks))
