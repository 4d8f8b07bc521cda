"""KV memory of a finished run, from its rows, gaps and moves: never over capacity, two copies while a request migrates.

What is counted, instance by instance:
  - a prefill row holds the blocks of all it computes; a decode row those of its tokens, one more token at each decode step;
  - a move holds on its target, from its start, at least the blocks the request had then (later extensions are not
    recorded, and count from the moment it leaves its source); on its source it holds its blocks until it has resumed;
  - rows of waiting hold nothing; swapped rows hold blocks of CPU memory only;
  - with a prefix cache, chunks that several requests may share are counted once, whether or not they did share them.
With prefix caching or migration the count is thus a lower bound: to exceed the capacity is wrong, not to is no proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rota.serving.model import BLOCK, Floats, Ints
from rota.serving.run import Run
from rota.serving.verify_tokens import DECODE, MIGRATE, PREFILL, SWAPPED, TOLERANCE, History

GROWTH, RELEASE, TAKE = range(3)
"""What happens first at one instant: the step that ends there has taken its blocks, then room is made, then it is used."""


@dataclass(frozen=True)
class Changes:
    """Blocks taken (> 0) and given back (< 0): (c,) arrays. `phase` orders those of one instant."""

    instance: Ints
    time: Floats
    phase: Ints
    blocks: Ints


def memory_violations(run: Run, past: History) -> list[str]:
    """Moments at which an instance, or the CPU memory beside it, holds more blocks than it has."""
    total = np.array([kind.blocks for kind in run.fleet.kinds])
    cpu = np.array([kind.cpu_blocks for kind in run.fleet.kinds])
    parts = [_rows_held(past), _growth(past), _moves_held(run, past), *_shared(run, past)]
    return _exceeded(_joined(parts), total, "KV blocks") + _exceeded(_swapped(past), cpu, "CPU blocks")


def _blocks(tokens: Any) -> Any:
    """KV blocks that hold each number of tokens."""
    return -(-tokens // BLOCK)


def _held(instance: Ints, start: Floats, end: Floats, amount: Ints) -> Changes:
    """`amount` blocks from `start` to `end`."""
    k = len(start)
    return Changes(
        np.tile(instance, 2), np.concatenate([start, end]), np.repeat([TAKE, RELEASE], k), np.concatenate([amount, -amount])
    )  # fmt: skip


def _joined(parts: list[Changes]) -> Changes:
    return Changes(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("instance", "time", "phase", "blocks"))
    )


def _rows_held(past: History) -> Changes:
    """Prefill rows, and decode rows as they begin; what a decode row gains is given back at its end too."""
    rows = past.rows
    on = (rows["kind"] == PREFILL) | (rows["kind"] == DECODE)
    before, after = _blocks(past.kv[on]), _blocks(np.where(rows["kind"] == DECODE, past.kv_end, past.kv)[on])
    rows = rows[on]
    taken = _held(rows["instance"], rows["start"], rows["end"], before)
    gained = Changes(rows["instance"], rows["end"], np.full(len(rows), RELEASE), before - after)
    return _joined([taken, gained])


def _growth(past: History) -> Changes:
    """One block more at each decode step that begins a new one."""
    rows = past.rows
    on = np.flatnonzero((rows["kind"] == DECODE) & (past.stop > past.begin))
    kv, count = past.kv[on], _blocks(past.kv_end[on]) - _blocks(past.kv[on])
    which = np.repeat(np.arange(len(on)), count)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    step = (-kv[which]) % BLOCK + BLOCK * nth
    decodes = np.flatnonzero(np.diff(past.decoded))
    place = decodes[past.decoded[past.begin[on]][which] + step]
    time = past.boundaries.time[place] - TOLERANCE
    return Changes(rows["instance"][on][which], time, np.full(len(which), GROWTH), np.ones(len(which), np.int64))


def _moves_held(run: Run, past: History) -> Changes:
    """The two copies of each completed move."""
    rows = past.rows
    leaving = (
        {(int(r["request"]), float(r["end"])): k for k, r in enumerate(rows) if r["kind"] in (PREFILL, DECODE)}
        if run.moves
        else {}
    )
    entered = {(int(r["request"]), float(r["start"])): float(r["end"]) for r in rows[rows["kind"] == MIGRATE]}
    held: list[tuple[int, float, float, int]] = []
    for request, source, target, started, left, resumed in run.moves:
        k = leaving.get((request, left))
        if k is not None:
            now, then = _blocks(int(past.kv_end[k])), _blocks(_tokens_at(past, k, started))
            until = max(entered.get((request, left), resumed), left)
            own = now - _sharable(run, past, k)
            held += [(source, left, resumed, own), (target, started, left, then), (target, left, until, now)]
    table = np.array(held, float).reshape(-1, 4)
    return _held(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3].astype(np.int64))


def _sharable(run: Run, past: History, row: int) -> int:
    """Blocks of a request's KV that may be chunks of the prefix cache of its instance."""
    w, request = run.workload, past.rows["request"][row]
    if not run.fleet.kinds[past.rows["instance"][row]].prefix_cache:
        return 0
    chunks = min(int(w.prefix_start[request + 1] - w.prefix_start[request]), int(past.kv_end[row]) // w.prefix_chunk)
    return chunks * (w.prefix_chunk // BLOCK)


def _tokens_at(past: History, row: int, time: float) -> int:
    """Tokens of KV of a decode row at `time`."""
    place = past.boundaries.after(past.rows["instance"][row : row + 1], np.array([time]))[0]
    place = int(np.clip(place, past.begin[row], past.stop[row]))
    return int(past.kv[row] + past.decoded[place] - past.decoded[past.begin[row]])


def _shared(run: Run, past: History) -> list[Changes]:
    """Takes the chunks that rows may share off their private blocks, and adds each distinct one once."""
    w, rows = run.workload, past.rows
    cached = np.array([kind.prefix_cache for kind in run.fleet.kinds])[rows["instance"]]
    on = np.flatnonzero(cached & ((rows["kind"] == PREFILL) | (rows["kind"] == DECODE)))
    chunks = np.minimum(np.diff(w.prefix_start)[rows["request"][on]], past.kv[on] // w.prefix_chunk)
    if not chunks.any():
        return []
    rows, size = rows[on], w.prefix_chunk // BLOCK
    private = _held(rows["instance"], rows["start"], rows["end"], -size * chunks)
    which = np.repeat(np.arange(len(rows)), chunks)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(chunks) - chunks, chunks)
    key = w.prefix_hash[w.prefix_start[rows["request"][which]] + nth]
    return [private, _union(rows["instance"][which], key, rows["start"][which], rows["end"][which], size)]


def _union(instance: Ints, key: Ints, start: Floats, end: Floats, size: int) -> Changes:
    """`size` blocks for as long as at least one interval of the same instance and key lasts."""
    where, what = np.tile(instance, 2), np.tile(key, 2)
    time, change = np.concatenate([start, end]), np.repeat([1, -1], len(start))
    order = np.lexsort((-change, time, what, where))
    level = np.cumsum(change[order])
    opens, closes = (change[order] > 0) & (level == 1), (change[order] < 0) & (level == 0)
    kept = order[opens | closes]
    return Changes(where[kept], time[kept], np.where(change[kept] > 0, TAKE, RELEASE), size * change[kept])


def _swapped(past: History) -> Changes:
    rows = past.rows[past.rows["kind"] == SWAPPED]
    return _held(rows["instance"], rows["start"], rows["end"], _blocks(past.kv[past.rows["kind"] == SWAPPED] - 1))


def _exceeded(changes: Changes, limits: Ints, what: str) -> list[str]:
    """Each moment from which on an instance holds more than its limit."""
    order = np.lexsort((changes.phase, changes.time, changes.instance))
    instance, time = changes.instance[order], changes.time[order]
    level, phase = np.cumsum(changes.blocks[order]), changes.phase[order]
    settled = np.ones(len(level), bool)
    settled[:-1] = (np.diff(instance) > 0) | (np.diff(time) > 0) | (np.diff(phase) > 0)
    instance, time, level = instance[settled], time[settled], level[settled]
    over = level > limits[instance]
    begins = np.flatnonzero(over & ~np.concatenate([[False], over[:-1]])) if len(over) else np.zeros(0, np.int64)
    return [
        f"instance {instance[k]}: {level[k]} of {limits[instance[k]]} {what} in use at {time[k]:g}"
        for k in begins.tolist()
    ]
