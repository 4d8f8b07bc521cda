"""The clockwork of one instance under priorities that change: continuous batching, copies, and skipping ahead.

It goes in one step to the next iteration at which anything can change (an arrival, an end, a copy that lands, an update
of the priorities, the last free block): k decode steps over B sequences take k * first + B * per_kv_token * k * (k - 1)
/ 2.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections.abc import Iterator

import numpy as np

from rota.serving.horizon import blocks_due, steps_in_memory, steps_until
from rota.serving.model import BLOCK, Floats, Instance, Ints, Workload, blocks_for
from rota.serving.preemptive_run import Diary, PreemptiveRun
from rota.serving.swap_audit import Event, Step
from rota.serving.swapping import Copy, Mechanism, Swapper


class Clockwork:
    """The engine. A request is waiting, incoming (its KV is being copied in), ready (to be prefilled) or running."""

    def __init__(
        self, instance: Instance, workload: Workload, owner: Ints, child: Ints, mechanism: Mechanism,
        rows: Iterator[Floats], period: int, audit: list[Event] | None,
    ) -> None:  # fmt: skip
        self.instance, self.workload, self.mechanism = instance, workload, mechanism
        self.owner, self.child = owner.tolist(), child.tolist()
        self.prompt, self.output = workload.prompt, workload.output
        self.generated = np.zeros(len(workload), dtype=np.int64)
        self.swapper = Swapper(instance, mechanism, audit)
        self.diary = Diary(workload)
        self.audit = audit
        self.rows, self.period = rows, period
        self.priority: list[float] = []
        self.arrived = [0.0] * len(workload)
        self.now, self.iteration, self.next_update = 0.0, 0, 0
        roots = np.flatnonzero(workload.parent < 0).tolist()
        self.coming = [(float(workload.arrival[r]), r) for r in roots]
        heapq.heapify(self.coming)
        self.waiting: list[int] = []
        self.incoming: dict[int, int] = {}
        self.ready: list[int] = []
        self.running: list[int] = []
        self.live: set[int] = set()
        self.computed: dict[int, int] = {}
        self._pace: dict[int, float] = {}

    def run(self) -> PreemptiveRun:
        """Serve everything."""
        while self.coming or self.live:
            self._land()
            self._arrive()
            if self.iteration >= self.next_update:
                self._update()
            self._admit()
            if self.ready:
                self._prefill()
            elif self.running:
                self._decode()
            else:
                self._idle()
        return self.diary.close(self.instance, self.output, self.swapper.traffic, self.audit or [])

    # What happens by itself

    def _arrive(self) -> None:
        while self.coming and self.coming[0][0] <= self.now:
            time, request = heapq.heappop(self.coming)
            self.arrived[request] = self.diary.arrival[request] = time
            self.diary.enter(request, "queue", time)
            self.live.add(self.owner[request])
            insort(self.waiting, request, key=self._rank)

    def _land(self) -> None:
        """Copies that have ended: requests copied in may run, or be prefilled where KV is missing."""
        for copy in self.swapper.landed(self.now):
            if not copy.outward:
                request = self.incoming.pop(copy.owner)
                if self._fresh(request):
                    self._await_prefill(request)
                else:
                    self._join(request)

    def _wait(self, until: float) -> None:
        """The engine stands still until copies have landed."""
        if until > self.now:
            self.diary.stalled(self.now, until)
            self.now = until
        self._land()

    def _idle(self) -> None:
        """Nothing can run: go to the next event."""
        landing = min((c.end for c in self.swapper.flying.values()), default=math.inf)
        arrival = self.coming[0][0] if self.coming else math.inf
        until = max(self.now, min(landing, arrival))
        if self.live and self.swapper.flying:
            self.diary.stalled(self.now, until)
        self.now = until

    # Who is served

    def _rank(self, request: int) -> tuple[float, float, int]:
        return -self.priority[self.owner[request]], self.arrived[request], request

    def _update(self) -> None:
        """Priorities change; the requests that are no longer among the first that fit leave the GPU, the last first."""
        self.priority = next(self.rows).tolist()
        self.next_update += self.period
        self.waiting.sort(key=self._rank)
        for request in self._losers() if self.waiting else []:
            self._preempt(request)

    def _losers(self) -> list[int]:
        fixed = [*self.ready, *self.incoming.values()]
        room = (
            self.instance.blocks
            - self.instance.watermark_blocks
            - sum(self.swapper.gpu.held(self.owner[r]) for r in fixed)
        )
        seats = self.instance.max_sequences - len(fixed)
        running = set(self.running)
        order = sorted([*self.running, *self.waiting], key=self._rank)
        for place, request in enumerate(order):
            room -= self.swapper.gpu.held(self.owner[request]) if request in running else self._need(request)
            if room < 0 or place >= seats:
                return [r for r in reversed(order[place:]) if r in running]
        return []

    def _preempt(self, request: int) -> None:
        self.running.remove(request)
        insort(self.waiting, request, key=self._rank)
        self.diary.preemptions[request] += 1
        self.diary.enter(request, "queue", self.now)
        self._put_away(request)

    def _put_away(self, request: int) -> None:
        """The request's KV goes to the CPU, or is dropped where that is not possible."""
        copy = self.swapper.swap_out(self.owner[request], self._context(request), self.now, self._spare_copies)
        if copy:
            self._issued(request, copy)

    def _spare_copies(self) -> list[int]:
        """Owners whose CPU copies may be cut: those also on the GPU, then idle ones; each by rising priority."""
        on_gpu = {self.owner[r] for r in self._on_gpu()}
        kept = [o for o in self.swapper.cpu.tables if o in on_gpu or o not in self.live]
        return sorted(kept, key=lambda o: (o not in on_gpu, self.priority[o], o))

    def _issued(self, request: int, copy: Copy) -> None:
        self.diary.copied(request, copy)
        if not self.mechanism.asynchronous:
            self._wait(copy.end)

    def _admit(self) -> None:
        """Waiting requests enter; asynchronous swap-ins are waited for until enough of the batch is ready."""
        self._enter_fitting()
        while self.incoming and self._ready_share() < self.mechanism.ready_share:
            self._wait(min(self.swapper.flying[owner].end for owner in self.incoming))
            self._enter_fitting()

    def _ready_share(self) -> float:
        present = len(self.running) + len(self.ready)
        return present / (present + len(self.incoming))

    def _enter_fitting(self) -> None:
        """Waiting requests enter in order of priority, as long as the next one fits."""
        count = 0
        while count < len(self.waiting) and self._fits(self.waiting[count]):
            self._enter(self.waiting[count])
            count += 1
        del self.waiting[:count]

    def _fits(self, request: int) -> bool:
        present = len(self._on_gpu())
        return (
            self._need(request) <= self._room()
            and present < self.instance.max_sequences
            and self.owner[request] not in self.swapper.flying
        )

    def _room(self) -> int:
        """Free GPU blocks, less the watermark if anything is on the GPU."""
        return self.swapper.gpu.free - (self.instance.watermark_blocks if self._on_gpu() else 0)

    def _enter(self, request: int) -> None:
        owner = self.owner[request]
        self.swapper.grow(owner, self._need(request), self.now)
        self.computed[request] = self.swapper.valid.get(owner, 0)
        if not self.computed[request]:
            self._await_prefill(request)
            return
        copy = self.swapper.swap_in(owner, self.now)
        self.incoming[owner] = request
        self.diary.leave(request, copy.start)
        self._issued(request, copy)

    # What they do

    def _prefill(self) -> None:
        """One step over the first ready prompts that the token budget allows."""
        batch: list[int] = []
        budget = self.instance.max_batched_tokens
        while self.ready and (not batch or self._fresh(self.ready[0]) <= budget):
            budget -= self._fresh(self.ready[0])
            batch.append(self.ready.pop(0))
        chunks = [(self._fresh(r), self.computed[r]) for r in batch]
        start, end = self.now, self.now + self.instance.cost.step(0, 0, chunks)
        self._log_step([self.owner[r] for r in batch], [c for _, c in chunks], [n + c for n, c in chunks], end)
        self.now = end
        self.iteration += 1
        for request, (new, _) in zip(batch, chunks, strict=True):
            self.diary.enter(request, "prefill", start)
            self.diary.prefilled(request, new, end)
            self.generated[request] += 1
            self._join(request)
        self._finish(batch, end)

    def _decode(self) -> None:
        """As many decode steps as can be taken before anything changes; one, if blocks had to be freed for it."""
        changed = self._make_room()
        if not self.running:
            return
        batch = np.array(self.running)
        context = self.prompt[batch] + self.generated[batch] - 1
        slope = self.instance.cost.per_kv_token * len(batch)
        first = self._base(len(batch)) + self.instance.cost.per_kv_token * float(context.sum())
        held = np.array([self.swapper.gpu.held(self.owner[r]) for r in self.running])
        steps = 1 if changed else self._steps(batch, context, held, first, slope)
        end = self.now + steps * first + slope * (steps * (steps - 1) / 2)
        self._take_blocks(context, held, steps)
        self._log_step([self.owner[r] for r in self.running], context.tolist(), (context + steps).tolist(), end)
        self.diary.decoded(batch, self.now, first, slope, steps, end)
        self.generated[batch] += steps
        self.now = end
        self.iteration += steps
        self._finish(batch[self.generated[batch] == self.output[batch]].tolist(), end)

    def _base(self, sequences: int) -> float:
        if sequences not in self._pace:
            self._pace[sequences] = self.instance.cost.step(sequences, 0)
        return self._pace[sequences]

    def _steps(self, batch: Ints, context: Ints, held: Ints, first: float, slope: float) -> int:
        most = min(int((self.output[batch] - self.generated[batch]).min()), self.next_update - self.iteration)
        event = min((c.end for c in self.swapper.flying.values()), default=math.inf)
        if self.coming:
            event = min(event, self.coming[0][0])
        most = steps_until(event - self.now, first, slope, most)
        return steps_in_memory(context, held, self.swapper.gpu.free, most)

    def _take_blocks(self, context: Ints, held: Ints, steps: int) -> None:
        for place in blocks_due(context, held, steps):
            self.swapper.grow(self.owner[self.running[place]], 1, self.now)

    def _make_room(self) -> bool:
        """Blocks for the next step: wait for copies out of the GPU, then preempt the request of lowest priority.

        Returns whether that was needed.
        """
        changed = False
        while self.running and self._blocks_short():
            changed = True
            leaving = [c.end for c in self.swapper.flying.values() if c.outward]
            if leaving:
                self.swapper.traffic.conflicts += 1
                self._wait(min(leaving))
            else:
                self._preempt(max(self.running, key=self._rank))
        return changed

    def _blocks_short(self) -> bool:
        free = self.swapper.gpu.free
        if free >= len(self.running):
            return False
        return sum(self._context(r) + 1 > BLOCK * self.swapper.gpu.held(self.owner[r]) for r in self.running) > free

    def _await_prefill(self, request: int) -> None:
        self.ready.append(request)
        self.diary.enter(request, "queue", self.now)

    def _join(self, request: int) -> None:
        self.running.append(request)
        self.diary.enter(request, "decode", self.now)

    def _finish(self, batch: list[int], end: float) -> None:
        """Requests with all their tokens leave; the KV is kept for the next turn, if there is one."""
        done = [r for r in batch if self.generated[r] == self.output[r]]
        for request in done:
            self.running.remove(request)
            self.live.discard(self.owner[request])
            self.diary.finish[request] = end
            self.diary.leave(request, end)
            if (turn := self.child[request]) >= 0:
                heapq.heappush(self.coming, (end + float(self.workload.think[turn]), turn))
        for request in done:
            if self.child[request] >= 0:
                self._put_away(request)
            else:
                self.swapper.leave_gpu(self.owner[request], self.now)
                self.swapper.forget(self.owner[request], self.now)

    # What they hold

    def _on_gpu(self) -> list[int]:
        return [*self.running, *self.ready, *self.incoming.values()]

    def _context(self, request: int) -> int:
        """Tokens of KV of a running request: the last token it got has none yet."""
        return int(self.prompt[request] + self.generated[request]) - 1

    def _need(self, request: int) -> int:
        """Blocks a waiting request must be given to get its next token."""
        return blocks_for(int(self.prompt[request] + self.generated[request]))

    def _fresh(self, request: int) -> int:
        """Tokens to prefill for the next token: none if only the last token lacks KV, which a decode step writes."""
        missing = int(self.prompt[request] + self.generated[request]) - self.computed[request]
        return 0 if missing == 1 and self.generated[request] else missing

    def _log_step(self, owners: list[int], before: list[int], after: list[int], end: float) -> None:
        if self.audit is not None:
            self.audit.append(Step(self.now, end, owners, before, after))
