"""The simulator's state as structured arrays, shared by every kernel.

A decoding request on an instance is stored relative to the instance's step counter, so that k steps of a whole batch
cost O(1): its KV holds `offset + steps` tokens, it has generated `kv - prompt + 1`, it ends at step `due`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FAR = np.int64(1) << 60
"""A step that never comes."""

FUTURE, WAITING, PREFILL, DECODE, MOVING, RESIDENT, SWAPPED, DONE = range(8)
"""States of a request; MOVING: drained from its source; RESIDENT: its KV is here, it joins the batch at the next step."""

IDLE, WAKE, PREFILL_STEP, DECODE_RUN, MIXED_STEP = range(5)
"""What an instance is doing; WAKE: about to plan its next step at `end`."""

QUEUE, PREFILLING, DECODING, PREEMPTED, MIGRATING, OFFLOADED = range(6)
"""Kinds of Timeline rows."""

KINDS = ("queue", "prefill", "decode", "preempted", "migrate", "swapped")

QUIET, NOTIFY, RANK, GROW = range(4)
"""Why `advance` came back: nothing left to do before the instant, news of requests, a queue to rank, buffers to enlarge."""

OFF, SERVING, DRAINING = range(3)

INSTANCE = np.dtype(
    [(name, np.int64) for name in (
        "on", "mode", "total", "free", "watermark", "max_sequences", "max_batched", "chunked", "cache", "swaps",
        "layers", "cpu_free", "steps", "running", "decoding", "kv", "run_steps", "next_finish", "head", "tail",
        "waiting", "wait_blocks", "wait_tokens", "prefill_left", "urgent", "killed", "sent", "sent_blocks", "sent_tokens",
        "gaps", "leaving", "evictable", "lru_first", "lru_last", "node_free", "peak_blocks",
    )]
    + [(name, np.float64) for name in (
        "decode_base", "prefill_base", "per_sequence", "per_kv", "quadratic", "per_prompt", "kv_bytes",
        "swap_latency", "swap_bandwidth", "swap_call", "start", "end", "first", "slope", "last_decode", "idle_since", "busy",
    )]
)  # fmt: skip
"""One engine. `start`..`end` is the planned run of `run_steps` steps, the first of `first` seconds, each `slope` longer."""

REQUEST = np.dtype(
    [(name, np.int64) for name in (
        "state", "instance", "prompt", "output", "tenant", "priority", "generated", "offset",
        "computed", "chunk", "held", "hits", "next", "children", "leaving", "epoch", "preemptions", "migrations", "cached", "swap_blocks",
    )]
    + [(name, np.float64) for name in (
        "arrival", "rank", "dispatched", "admitted", "first_token", "finish", "last_token", "since", "preempted_at", "loss", "downtime",
    )]
)  # fmt: skip
"""One request. `held`: prefix chunks it references; `since`: when its present phase began."""

ROW = np.dtype(
    [
        ("request", np.int64),
        ("instance", np.int64),
        ("kind", np.int64),
        ("start", np.float64),
        ("end", np.float64),
        ("blocks", np.int64),
    ]
)
SEGMENT = np.dtype(
    [
        ("instance", np.int64),
        ("start", np.float64),
        ("count", np.int64),
        ("first", np.float64),
        ("slope", np.float64),
        ("weight", np.int64),
    ]
)
"""`count` inter-token gaps first, first + slope, ... of `weight` requests at once."""

REPORT = np.dtype(
    [("as_of", np.float64)]
    + [(name, np.int64) for name in (
        "free", "running", "waiting", "waiting_blocks", "head_blocks", "urgent", "killed", "kv_tokens", "prefill_tokens",
        "sent", "sent_blocks", "sent_tokens",
    )]
)  # fmt: skip


class State(NamedTuple):
    """All arrays of a simulation.

    Of the request in slot b of instance i's batch: `run[i, b]` its identity; `due[i, b]` the step it ends at, FAR while in
    prefill; `last[i, b]` when it got its last token, if it has not decoded here since it joined (else -1).
    `totals` holds the lengths used (rows, segments), then the reason, instance and request of a return.
    """

    inst: NDArray[np.void]
    req: NDArray[np.void]
    run: NDArray[np.int64]
    due: NDArray[np.int64]
    last: NDArray[np.float64]
    residue: NDArray[np.int64]
    cost_x: NDArray[np.float64]
    cost_y: NDArray[np.float64]
    cost_n: NDArray[np.int64]
    rows: NDArray[np.void]
    segments: NDArray[np.void]
    totals: NDArray[np.int64]
    service: NDArray[np.int64]
    prefix_start: NDArray[np.int64]
    prefix_hash: NDArray[np.int64]
    table: NDArray[np.int64]
    node_key: NDArray[np.int64]
    node_ref: NDArray[np.int64]
    node_prev: NDArray[np.int64]
    node_next: NDArray[np.int64]


WHOLE, REAL = np.dtype(np.int64), np.dtype(np.float64)
ARRAYS = (
    (INSTANCE, 1), (REQUEST, 1), (WHOLE, 2), (WHOLE, 2), (REAL, 2), (WHOLE, 2), (REAL, 2), (REAL, 2), (WHOLE, 1), (ROW, 1),
    (SEGMENT, 1), (WHOLE, 1), (WHOLE, 3), (WHOLE, 1), (WHOLE, 1), (WHOLE, 2), (WHOLE, 2), (WHOLE, 2), (WHOLE, 2), (WHOLE, 2),
)  # fmt: skip
"""Of each array of a `State`, in order: the type of its elements, and its dimensions."""

ROWS, SEGMENTS, REASON, WHERE, WHO, NOTIFY_FIRST, DYNAMIC, TRACK_SERVICE, CHUNK, TOKENS_SAVED, EVICTIONS, FINISHED = (
    range(12)
)
"""Places in `State.totals`; from NOTIFY_FIRST to CHUNK they are settings."""
