"""From the queue into the batch: prefills, requests that return with their KV, and the room they need."""

from __future__ import annotations

import numpy as np
from numba import njit

from rota.serving.kernels import prefix, queue
from rota.serving.kernels.batch import close_row, join, preempt
from rota.serving.kernels.state import (
    CHUNK,
    FAR,
    MIGRATING,
    OFFLOADED,
    PREEMPTED,
    PREFILL,
    QUEUE,
    SWAPPED,
    TOKENS_SAVED,
    TRACK_SERVICE,
    WAITING,
)
from rota.serving.kernels.steps import new_blocks, swap_seconds


@njit
def _resume(s, r, kind, now, blocks):
    """The end of a wait: close its row and count what a preemption cost so far."""
    q = s.req[r]
    close_row(s, r, kind, now, blocks)
    if q.preempted_at >= 0:
        s.inst[q.instance].killed -= 1
        if kind == OFFLOADED:
            q.loss += now - q.preempted_at
            q.preempted_at = -1.0


@njit
def _enter(s, i):
    """Move the head of the queue, whose KV exists already (migrated in, or swapped out), back to the batch; False if no room."""
    m, r = s.inst[i], s.inst[i].head
    q = s.req[r]
    if q.state == SWAPPED:
        if m.free - q.swap_blocks < (m.watermark if m.running else 0):
            return False
        m.free -= q.swap_blocks
        prefix.shrink(s, i)
        m.cpu_free += q.swap_blocks
        m.start += swap_seconds(m, q.swap_blocks)
        queue.pop(s, i)
        _resume(s, r, OFFLOADED, m.start, 0)
    else:
        queue.pop(s, i)
        close_row(s, r, MIGRATING, m.start, 0)
    s.run[i, m.running] = r
    m.running += 1
    join(s, i, m.running - 1, q.prompt + q.generated - 1)
    return True


@njit
def _admit(s, i, budget, reserve):
    """Admit the head of the queue for prefill if it fits and leaves `reserve` blocks; returns the tokens to compute now, or -1."""
    m, r = s.inst[i], s.inst[i].head
    q = s.req[r]
    target = q.prompt + q.generated
    hits, loose = prefix.lookup(s, i, r, target - 1)
    left = target - hits * s.totals[CHUNK]
    chunk_blocks = s.totals[CHUNK] // 16
    need = (target + 15) // 16 - (hits - loose) * chunk_blocks
    if (
        m.free - need - reserve < m.watermark
        or (not m.chunked and budget < left and budget < m.max_batched)
        or budget <= 0
    ):
        return -1
    queue.pop(s, i)
    _resume(s, r, PREEMPTED if q.preemptions else QUEUE, m.start, 0)
    prefix.acquire(s, i, r, hits)
    m.free -= need - loose * chunk_blocks
    prefix.shrink(s, i)
    s.totals[TOKENS_SAVED] += hits * s.totals[CHUNK]
    if q.admitted < 0:
        q.admitted, q.cached = m.start, hits * s.totals[CHUNK]
    if s.totals[TRACK_SERVICE]:
        s.service[i, q.tenant, 0] += left
    q.state, q.computed, q.hits = PREFILL, target - left, 1
    s.run[i, m.running], s.due[i, m.running] = r, FAR
    m.running += 1
    m.prefill_left += left
    return min(left, budget) if m.chunked else left


@njit
def _chunk(s, i, r, tokens):
    """Give request r `tokens` of prefill in the step being formed; returns its cost beyond g(N)."""
    m, q = s.inst[i], s.req[r]
    q.chunk = tokens
    cost = m.quadratic * tokens * (q.computed + tokens / 2.0) + m.per_prompt * q.hits
    q.hits = 0
    return cost


@njit
def free_decode_slots(s, i):
    """Preempt until the next decode step has its blocks; True if somebody was preempted."""
    squeezed = False
    while new_blocks(s, i, 1) > s.inst[i].free and preempt(s, i):
        squeezed = True
    return squeezed


@njit
def return_to_batch(s, i):
    """Let requests whose KV exists (migrated in, swapped out) back into the batch; False while one of them finds no room."""
    m = s.inst[i]
    while m.head >= 0 and s.req[m.head].state != WAITING:
        if m.running >= m.max_sequences or not _enter(s, i):
            return False
    return True


@njit
def _continue_prefills(s, i, budget):
    """Give prefills already begun their next chunks; returns (tokens, extra seconds)."""
    tokens, extra = np.int64(0), 0.0
    for b in range(s.inst[i].running):
        if s.due[i, b] == FAR and budget > tokens:
            q = s.req[s.run[i, b]]
            part = min(q.prompt + q.generated - q.computed, budget - tokens)
            extra += _chunk(s, i, s.run[i, b], part)
            tokens += part
    return tokens, extra


@njit
def form_prefill(s, i, admitting, budget):
    """The prefill part of the next step; returns (tokens, extra seconds)."""
    m, tokens, extra = s.inst[i], np.int64(0), 0.0
    if m.prefill_left > 0:
        tokens, extra = _continue_prefills(s, i, budget)
    reserve = new_blocks(s, i, 1) if m.chunked else np.int64(0)
    while admitting and m.head >= 0 and m.running < m.max_sequences:
        r = m.head
        part = _admit(s, i, budget - tokens, reserve)
        if part < 0:
            break
        extra += _chunk(s, i, r, part)
        tokens += part
    return tokens, extra
