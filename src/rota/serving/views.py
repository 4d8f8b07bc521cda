"""What serving policies see, and the small interfaces they answer through.

A policy never reads a clock, sleeps, opens a socket or draws from a generator it was not given: `now` is in the view, and
a policy that needs randomness takes a `seed` and keeps its own stream. The simulator and the live gateway build the same views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rota.serving.model import Instance, RequestView


@dataclass(frozen=True, slots=True)
class FleetView:
    """Every instance as it last reported, one row each; arrays are read-only.

    A view is good for one decision: the simulator brings it up to date in place. A policy keeps values, not views.

    Attributes:
        now: present time, seconds.
        as_of: (n,) when each report was made, <= now.
        accepting: (n,) serves, and is not draining or starting.
        active: (n,) serves, or drains.
        total, free: (n,) KV blocks in all, and free (evictable prefix blocks count as free).
        watermark: (n,) blocks kept free at admission.
        running, waiting: (n,) requests in the batch, and in the queue.
        waiting_blocks: (n,) blocks that the queued requests need to be admitted.
        head_blocks: (n,) blocks that the first queued request needs (0 if none).
        urgent: (n,) requests with priority > 0 on the instance, running or waiting, those sent since the report included.
        killed: (n,) requests preempted and not yet resumed.
        kv_tokens: (n,) tokens of KV held by running requests.
        prefill_tokens: (n,) prompt tokens not yet computed, of queued and running requests.
        sent, sent_blocks, sent_tokens: (n,) requests dispatched since the report, their prompt blocks and prompt tokens
            (the dispatcher knows what it sent; zero in a fleet whose `counts_sent` is false).
        migrating: (n,) takes part in a migration.
        kinds: the kind of each instance (cost model, limits).
        cached: `cached(request)` gives (n,) prompt tokens already in each instance's prefix cache.
    """

    now: float
    as_of: NDArray[np.float64]
    accepting: NDArray[np.bool_]
    active: NDArray[np.bool_]
    total: NDArray[np.int64]
    free: NDArray[np.int64]
    watermark: NDArray[np.int64]
    running: NDArray[np.int64]
    waiting: NDArray[np.int64]
    waiting_blocks: NDArray[np.int64]
    head_blocks: NDArray[np.int64]
    urgent: NDArray[np.int64]
    killed: NDArray[np.int64]
    kv_tokens: NDArray[np.int64]
    prefill_tokens: NDArray[np.int64]
    sent: NDArray[np.int64]
    sent_blocks: NDArray[np.int64]
    sent_tokens: NDArray[np.int64]
    migrating: NDArray[np.bool_]
    kinds: Sequence[Instance]
    cached: Callable[[RequestView], NDArray[np.int64]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.total)

    def least(self, cost: NDArray[np.number]) -> int:
        """The accepting instance of the least `cost` (n,); of equals the first."""
        best = int(cost.argmin())
        return best if self.accepting[best] else int(np.where(self.accepting, cost, np.inf).argmin())


@dataclass(frozen=True, slots=True)
class BatchView:
    """The requests running on one instance, in order of admission; arrays have one entry a request.

    Attributes:
        now: present time, seconds.
        instance: index in the fleet.
        id: request identities.
        priority, tenant: as in the request.
        prompt, generated: tokens.
        blocks: KV blocks held.
        decoding: past its prefill.
        movable: may be migrated now (decoding, not already on the move).
    """

    now: float
    instance: int
    id: NDArray[np.int64]
    priority: NDArray[np.int64]
    tenant: NDArray[np.int64]
    prompt: NDArray[np.int64]
    generated: NDArray[np.int64]
    blocks: NDArray[np.int64]
    decoding: NDArray[np.bool_]
    movable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class QueueView:
    """The queue of one instance, in order of arrival there.

    Attributes:
        now: present time, seconds.
        instance: index in the fleet.
        requests: the waiting requests.
        cached: tokens of each that the prefix cache holds.
        free: blocks available for admission (beyond the watermark).
        service_in, service_out: tokens this instance has so far computed for each tenant: prompt tokens admitted, tokens generated.
        running_tenants: requests in the batch, by tenant.
    """

    now: float
    instance: int
    requests: Sequence[RequestView]
    cached: NDArray[np.int64]
    free: int
    service_in: NDArray[np.int64]
    service_out: NDArray[np.int64]
    running_tenants: NDArray[np.int64]


@runtime_checkable
class Dispatcher(Protocol):
    """Chooses where a new request goes."""

    def choose(self, request: RequestView, fleet: FleetView) -> int:
        """Index of an accepting instance. At least one is accepting when this is called."""
        ...


@runtime_checkable
class Rescheduler(Protocol):
    """Moves running requests between instances.

    `interval` is the time between plans (seconds), or None: never plans. `after_prefill` asks to be called with each
    request that got its first token.
    """

    interval: float | None
    after_prefill: bool

    def pairs(self, fleet: FleetView) -> Sequence[tuple[int, int]]:
        """(source, destination) instances between which one request each should now move."""
        ...

    def victim(self, batch: BatchView) -> int | None:
        """Identity of the request to move away, one that is `movable`, or None."""
        ...

    def target(self, request: RequestView, source: int, fleet: FleetView) -> int | None:
        """Where a request goes after its first token, or None to stay.

        Only asked if `after_prefill`; asked again when a migration has ended that kept the request from moving.
        """
        ...


@runtime_checkable
class Scaler(Protocol):
    """Decides how many instances run. `interval`: seconds between decisions, or None: never."""

    interval: float | None

    def change(self, fleet: FleetView) -> int:
        """How many instances to start (> 0) or to drain (< 0)."""
        ...


@runtime_checkable
class LocalOrder(Protocol):
    """Orders the queue of an instance.

    `dynamic` False: a request's rank does not change while it waits, so it is asked for once. True: asked again whenever
    admission is tried.
    """

    dynamic: bool

    def rank(self, queue: QueueView) -> NDArray[np.float64]:
        """(len(queue.requests),) ranks; the smallest goes first, ties by arrival."""
        ...


@runtime_checkable
class Preemption(Protocol):
    """What happens to a running request that must give up its KV."""

    mechanism: str
    """`recompute` drops the KV, `swap` copies it to CPU memory."""

    def victim(self, batch: BatchView) -> int:
        """Position in the batch of the request to preempt."""
        ...
