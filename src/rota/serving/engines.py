"""The engines of a fleet as the driver sees them: what they do until an instant, and what can be asked of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rota.serving.kernels import build, entry
from rota.serving.kernels.handle import handle
from rota.serving.kernels.state import (
    CHUNK,
    DYNAMIC,
    GROW,
    NOTIFY_FIRST,
    REPORT,
    ROWS,
    TRACK_SERVICE,
    WHERE,
    WHO,
)
from rota.serving.model import Fleet, Workload


class Engines:
    """Every engine of a run, and every request.

    Attributes:
        state: all arrays (`kernels.state.State`).
        inst, req: its engines and requests, which stay where they are for the whole run.
        totals: its counters and settings.
    """

    def __init__(self, fleet: Fleet, workload: Workload) -> None:
        self.state = build.new_state(fleet, workload)
        self.handle = handle(self.state)
        self.inst, self.req, self.totals = self.state.inst, self.state.req, self.state.totals
        self.totals[CHUNK] = workload.prefix_chunk

    def settle(self, notify_first: bool, dynamic: bool, swaps: bool) -> None:
        """Whether first tokens are announced, queues are ranked anew whenever admission is tried, preemption swaps."""
        self.totals[NOTIFY_FIRST] = notify_first
        self.totals[DYNAMIC] = self.totals[TRACK_SERVICE] = dynamic
        self.inst["swaps"] = swaps

    def advance(self, until: float, out: NDArray[np.void], reporting: bool) -> int:
        """Run up to, not including, `until`; returns QUIET, or NOTIFY or RANK if somebody has to be asked before.

        If `reporting` and nothing came up, `out` (REPORT, one an instance) then holds what each instance reports at `until`.
        """
        while (reason := entry.advance(self.handle, until, out, reporting)) == GROW:
            self._grow()
        return int(reason)

    def _grow(self) -> None:
        self.state = build.larger(self.state)
        self.handle = handle(self.state)

    def news(self) -> tuple[int, list[int]]:
        """After NOTIFY: the instance, and its requests that ended, got their first token or left the batch, ascending."""
        found, request = [], int(self.totals[WHO])
        while request >= 0:
            found.append(request)
            request = int(self.req[request]["next"])
        self.req["next"][found] = -1
        return int(self.totals[WHERE]), sorted(found)

    def plan(self, i: int) -> None:
        """Decide what instance i does next."""
        entry.plan(self.handle, i)

    def enqueue(self, i: int, request: int, now: float) -> None:
        """A request arrives at instance i."""
        entry.enqueue(self.handle, i, request, now)

    def withdraw(self, request: int, now: float) -> None:
        """Take a waiting request back from its instance."""
        if self.totals[ROWS] == len(self.state.rows):
            self._grow()
        entry.withdraw(self.handle, request, now)

    def report(self, now: float, out: NDArray[np.void] | None = None) -> NDArray[np.void]:
        """(n,) REPORT: what each instance said after its last step that ended by `now`."""
        out = np.zeros(len(self.inst), REPORT) if out is None else out
        entry.report(self.handle, now, out)
        return out

    def cached_tokens(self, request: int) -> NDArray[np.int64]:
        """(n,) prompt tokens of a request that each instance's prefix cache holds."""
        out = np.empty(len(self.inst), np.int64)
        entry.cached_tokens(self.handle, request, out)
        return out

    def queue(self, i: int) -> NDArray[np.int64]:
        """The requests queued at instance i, in order."""
        ids = np.empty(int(self.inst[i]["waiting"]), np.int64)
        entry.listing(self.handle, i, ids)
        return ids

    def reorder(self, i: int, ids: NDArray[np.int64]) -> None:
        """Give the queue of instance i the order of `ids`, a permutation of what it holds."""
        entry.rebuild(self.handle, i, ids)

    def batch(self, i: int, now: float) -> NDArray[np.int64]:
        """(8, running) of instance i's batch: id, priority, tenant, prompt, generated, blocks, decoding, movable."""
        rows = np.zeros((8, int(self.inst[i]["running"])), np.int64)
        entry.batch(self.handle, i, now, rows)
        return rows

    def tokens_now(self, request: int, now: float) -> int:
        """KV tokens of a decoding request at the last boundary by `now`."""
        return int(entry.tokens_now(self.handle, request, now))

    def reserve(self, i: int, blocks: int, now: float) -> bool:
        """Set `blocks` aside on instance i for a request that may move in; False if they are not there at its next boundary."""
        return bool(entry.reserve(self.handle, i, blocks, now))

    def unreserve(self, i: int, blocks: int, now: float) -> None:
        """Give reserved blocks back."""
        entry.unreserve(self.handle, i, blocks, now)

    def mark_leaving(self, request: int, now: float) -> None:
        """Ask for a request to leave its batch at the next boundary."""
        entry.mark_leaving(self.handle, request, now)

    def complete_move(self, request: int, target: int, now: float) -> None:
        """A drained request's KV has arrived on `target`: free the source, join the target."""
        entry.complete_move(self.handle, request, target, now)
