"""Live migration of a running request between two instances, in stages (Llumnix, OSDI'24, section 4.2).

    reserve on the target -> copy complete blocks while decoding goes on -> copy what was added meanwhile -> ...
    -> when at most `LAST_STAGE_BLOCKS` are left: leave the batch, copy the tail, commit on the target, free the source

A move is given up, and the request stays, if the request ended or was preempted meanwhile, if the target has no room, or if
more than `MAX_STAGES` stages would be needed. At most one move at a time touches an instance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rota.core.events import EventQueue
from rota.serving.engines import Engines
from rota.serving.kernels.state import DECODE, DONE
from rota.serving.model import BLOCK, Instance, blocks_for

LAST_STAGE_BLOCKS = 16
MAX_STAGES = 3


@dataclass(slots=True)
class Move:
    """One migration under way. `reserved`, `copied`: blocks on the target; `epoch` tells whether the request was disturbed."""

    request: int
    source: int
    target: int
    epoch: int
    reserved: int
    copied: int = 0
    stage: int = 0
    drained_at: float = 0.0
    started: float = 0.0


@dataclass
class Moves:
    """Every migration of a run, and what they cost. `busy` (n,) marks instances in a migration; `ended` is told when one is over."""

    kinds: tuple[Instance, ...]
    events: EventQueue[Any]
    engines: Engines
    busy: np.ndarray
    ended: Callable[[float], None] = lambda now: None
    under_way: dict[int, Move] = field(default_factory=dict)
    completed: int = 0
    aborted_source: int = 0
    aborted_target: int = 0
    bytes: float = 0.0
    downtimes: list[float] = field(default_factory=list)
    log: list[tuple[int, int, int, float, float, float]] = field(default_factory=list)

    def start(self, request: int, source: int, target: int, now: float) -> bool:
        """Begin to move a decoding request; False if an end is busy or the target has no room."""
        if self.busy[source] or self.busy[target] or source == target or self.engines.req[request]["state"] != DECODE:
            return False
        tokens = self.engines.tokens_now(request, now)
        if not self.engines.reserve(target, blocks_for(tokens), now):
            self.aborted_target += 1
            return False
        move = Move(request, source, target, int(self.engines.req[request]["epoch"]), blocks_for(tokens), started=now)
        self.busy[source] = self.busy[target] = True
        self.under_way[request] = move
        self._copy(move, tokens // BLOCK, now)
        return True

    def stage_done(self, move: Move, now: float) -> None:
        """A stage's copy has ended: another stage, the last one, or give up."""
        q = self.engines.req[move.request]
        if q["epoch"] != move.epoch or q["state"] != DECODE:
            self.aborted_source += 1
            return self._give_up(move, now)
        tokens = self.engines.tokens_now(move.request, now)
        last = blocks_for(tokens) - move.copied <= LAST_STAGE_BLOCKS
        if not self._extend(move, blocks_for(tokens + 2 if last else tokens), now) or (
            not last and move.stage >= MAX_STAGES
        ):
            self.aborted_target += 1
            return self._give_up(move, now)
        if last:
            return self.engines.mark_leaving(move.request, now)
        return self._copy(move, tokens // BLOCK, now)

    def left_batch(self, request: int, now: float) -> None:
        """The request has stopped decoding (or ended just then): copy the tail."""
        move = self.under_way[request]
        q = self.engines.req[request]
        if q["state"] == DONE:
            self.aborted_source += 1
            return self._give_up(move, now)
        move.drained_at = now
        rest = blocks_for(int(q["prompt"] + q["generated"]) - 1) - move.copied
        seconds = self._seconds(move, rest)
        self.events.push(now + seconds, (self.commit, move))
        return None

    def commit(self, move: Move, now: float) -> None:
        """The tail has arrived: the request joins the target, its blocks on the source are freed."""
        q = self.engines.req[move.request]
        self.engines.unreserve(move.target, move.reserved - blocks_for(int(q["prompt"] + q["generated"]) - 1), now)
        self.engines.complete_move(move.request, move.target, now)
        q["downtime"] += now - move.drained_at
        self.downtimes.append(now - move.drained_at)
        self.log.append((move.request, move.source, move.target, move.started, move.drained_at, now))
        self.completed += 1
        self._release(move, now)

    def _copy(self, move: Move, complete: int, now: float) -> None:
        seconds = self._seconds(move, complete - move.copied)
        move.copied = complete
        move.stage += 1
        self.events.push(now + seconds, (self.stage_done, move))

    def _seconds(self, move: Move, blocks: int) -> float:
        kind = self.kinds[move.source]
        size = blocks * BLOCK * kind.kv_bytes
        self.bytes += size
        return kind.migration.seconds(size)

    def _extend(self, move: Move, blocks: int, now: float) -> bool:
        more = blocks - move.reserved
        if more > 0 and not self.engines.reserve(move.target, more, now):
            return False
        move.reserved = max(move.reserved, blocks)
        return True

    def _give_up(self, move: Move, now: float) -> None:
        self.engines.unreserve(move.target, move.reserved, now)
        self._release(move, now)

    def _release(self, move: Move, now: float) -> None:
        self.busy[move.source] = self.busy[move.target] = False
        del self.under_way[move.request]
        self.ended(now)
