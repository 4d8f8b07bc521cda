"""What crosses instances: batches to choose from, KV reservations, moves of requests."""

from __future__ import annotations

from numba import njit

from rota.serving.kernels import prefix, queue
from rota.serving.kernels.batch import close_row
from rota.serving.kernels.engine import interrupt
from rota.serving.kernels.state import (
    CHUNK,
    DECODE,
    DECODE_RUN,
    FUTURE,
    MIXED_STEP,
    PREEMPTED,
    QUEUE,
    RESIDENT,
)
from rota.serving.kernels.steps import new_blocks, steps_done


@njit
def tokens_now(s, r, now):
    """KV tokens of a decoding request at the last boundary by `now`."""
    q = s.req[r]
    m = s.inst[q.instance]
    done = steps_done(m, now) if m.mode == DECODE_RUN else 0
    return q.offset + m.steps + done


@njit
def batch(s, i, now, out):
    """Rows (id, priority, tenant, prompt, generated, blocks, decoding, movable) of instance i's batch; returns how many."""
    m = s.inst[i]
    for b in range(m.running):
        r = s.run[i, b]
        q = s.req[r]
        decoding = q.state == DECODE
        kv = tokens_now(s, r, now) if decoding else q.prompt + q.generated
        out[0, b], out[1, b], out[2, b], out[3, b] = r, q.priority, q.tenant, q.prompt
        out[4, b] = kv - q.prompt + 1 if decoding else q.generated
        out[5, b] = (kv + 15) // 16
        out[6, b] = decoding
        out[7, b] = decoding and not q.leaving
    return m.running


@njit
def reserve(s, i, blocks, now):
    """Set `blocks` aside on instance i for a request that may move in; False if they are not there at its next boundary."""
    m = s.inst[i]
    interrupt(s, i, now)
    free = m.free
    if m.mode == DECODE_RUN or m.mode == MIXED_STEP:
        free -= new_blocks(s, i, m.run_steps)
    if free - blocks < m.watermark:
        return False
    m.free -= blocks
    prefix.shrink(s, i)
    return True


@njit
def unreserve(s, i, blocks, now):
    """Give reserved blocks back."""
    interrupt(s, i, now)
    s.inst[i].free += blocks


@njit
def mark_leaving(s, r, now):
    """Ask for request r to leave its batch at the next boundary."""
    s.req[r].leaving = 1
    s.inst[s.req[r].instance].leaving += 1
    interrupt(s, s.req[r].instance, now)


@njit
def complete_move(s, r, target, now):
    """A drained request's KV has arrived on `target` (its blocks there are reserved): free the source, join the target."""
    q = s.req[r]
    source = q.instance
    kv = q.prompt + q.generated - 1
    interrupt(s, source, now)
    s.inst[source].free += (kv + 15) // 16 - q.held * (s.totals[CHUNK] // 16)
    prefix.release(s, source, r)
    s.inst[source].urgent -= q.priority > 0
    s.inst[target].urgent += q.priority > 0
    q.state = RESIDENT
    q.migrations += 1
    queue.push(s, target, r)
    interrupt(s, target, now)


@njit
def withdraw(s, r, now):
    """Take a waiting request back from its instance, to be dispatched again; its partial progress is kept as `generated`."""
    q = s.req[r]
    m = s.inst[q.instance]
    close_row(s, r, PREEMPTED if q.preemptions else QUEUE, now, 0)
    queue.remove(s, q.instance, r)
    m.urgent -= q.priority > 0
    m.killed -= q.preempted_at >= 0
    q.state = FUTURE
    interrupt(s, q.instance, now)
