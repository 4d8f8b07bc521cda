"""Joining and leaving the batch of an engine, and what is recorded of it."""

from __future__ import annotations

from numba import njit

from rota.serving.kernels import prefix, queue
from rota.serving.kernels.state import (
    CHUNK,
    DECODE,
    DECODING,
    DONE,
    FAR,
    FINISHED,
    NOTIFY,
    PREFILLING,
    QUIET,
    REASON,
    ROWS,
    SEGMENTS,
    SWAPPED,
    WAITING,
    WHERE,
    WHO,
)
from rota.serving.kernels.steps import swap_seconds


@njit
def close_row(s, r, kind, end, blocks):
    """Record that request r's present phase was of `kind` and ended at `end`, holding `blocks` KV blocks."""
    q = s.req[r]
    if end > q.since:
        row = s.rows[s.totals[ROWS]]
        row.request, row.instance, row.kind, row.start, row.end, row.blocks = r, q.instance, kind, q.since, end, blocks
        s.totals[ROWS] += 1
    q.since = end


@njit
def gap(s, i, start, count, first, slope, weight):
    """Record `count` inter-token gaps first, first + slope, ... of `weight` requests each."""
    if count > 0 and weight > 0:
        g = s.segments[s.totals[SEGMENTS]]
        g.instance, g.start, g.count, g.first, g.slope, g.weight = i, start, count, first, slope, weight
        s.totals[SEGMENTS] += 1


@njit
def held_blocks(s, r, tokens):
    """Blocks of its own, beyond shared prefix chunks, that `tokens` tokens of request r take."""
    return (tokens + 15) // 16 - s.req[r].held * (s.totals[CHUNK] // 16)


@njit
def join(s, i, position, kv):
    """The request at `position` of the batch, with `kv` tokens of KV here, decodes from the next step on."""
    m, q = s.inst[i], s.req[s.run[i, position]]
    q.state = DECODE
    q.offset = kv - m.steps
    s.due[i, position] = q.prompt + q.output - 1 - q.offset
    s.last[i, position] = q.last_token
    m.next_finish = min(m.next_finish, s.due[i, position])
    s.residue[i, q.offset % 16] += 1
    m.decoding += 1
    m.kv += kv
    m.gaps = 1


@njit
def leave(s, i, position):
    """The request at `position` stops decoding (its KV stays); returns its tokens of KV."""
    m, q = s.inst[i], s.req[s.run[i, position]]
    kv = q.offset + m.steps
    s.residue[i, q.offset % 16] -= 1
    m.decoding -= 1
    m.kv -= kv
    q.generated = kv - q.prompt + 1
    if s.last[i, position] < 0:
        q.last_token = m.last_decode
    due = s.due[i, position]
    s.due[i, position] = FAR
    if due == m.next_finish:
        m.next_finish = FAR
        for b in range(m.running):
            m.next_finish = min(m.next_finish, s.due[i, b])
    return kv


@njit
def drop_from_run(s, i, position):
    """Close the gap that a leaving request leaves in the batch."""
    m = s.inst[i]
    for b in range(position, m.running - 1):
        s.run[i, b], s.due[i, b], s.last[i, b] = s.run[i, b + 1], s.due[i, b + 1], s.last[i, b + 1]
    m.running -= 1


@njit
def notify(s, i, r):
    """Tell the driver of request r: it ended, got its first token, or was drained. Several are chained through `next`."""
    if s.totals[REASON] == QUIET:
        s.totals[REASON], s.totals[WHERE], s.totals[WHO] = NOTIFY, i, -1
    s.req[r].next = s.totals[WHO]
    s.totals[WHO] = r


@njit
def finish(s, i, position):
    """The request at `position` of the batch has its last token: it leaves, and its prefix stays in the cache."""
    m, r = s.inst[i], s.run[i, position]
    q = s.req[r]
    kv = leave(s, i, position)
    prefix.publish(s, i, r, kv)
    close_row(s, r, DECODING, m.end, (kv + 15) // 16)
    m.free += held_blocks(s, r, kv)
    prefix.release(s, i, r)
    drop_from_run(s, i, position)
    q.state, q.finish, q.last_token, q.generated = DONE, m.end, m.end, q.output
    q.epoch += 1
    m.urgent -= q.priority > 0
    s.totals[FINISHED] += 1
    m.leaving -= q.leaving
    if q.children > 0 or q.leaving:
        notify(s, i, r)


@njit
def preempt(s, i):
    """Take the last request of the lowest priority out of the batch; False if there is none."""
    m, position = s.inst[i], -1
    for b in range(m.running):
        if position < 0 or s.req[s.run[i, b]].priority <= s.req[s.run[i, position]].priority:
            position = b
    if position < 0:
        return False
    r = s.run[i, position]
    q = s.req[r]
    decoding = q.state == DECODE
    kv = leave(s, i, position) if decoding else q.prompt + q.generated
    close_row(s, r, DECODING if decoding else PREFILLING, m.start, (kv + 15) // 16)
    blocks = held_blocks(s, r, kv)
    m.free += blocks
    if not decoding:
        m.prefill_left -= kv - q.computed
    drop_from_run(s, i, position)
    q.epoch += 1
    q.preemptions += 1
    if q.preempted_at < 0:
        q.preempted_at = m.start
    m.leaving -= q.leaving
    q.leaving, q.computed, q.chunk = 0, 0, 0
    m.killed += 1
    if m.swaps and decoding and q.held == 0 and m.cpu_free >= blocks:
        m.cpu_free -= blocks
        q.swap_blocks, q.state = blocks, SWAPPED
        m.start += swap_seconds(m, blocks)
        m.gaps = 1
    else:
        prefix.release(s, i, r)
        q.state = WAITING
    queue.push(s, i, r)
    return True
