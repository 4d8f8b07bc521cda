"""One engine: what happens at a step boundary, and how far ahead the next one is.

At a boundary the planned steps are committed (tokens counted, finished requests leave), then the next run is planned:
admission, then either a prefill step, a mixed step, or a run of k decode steps with nothing to decide between them.
k is the least of the steps to the next finish and the steps until the KV blocks run out; both have closed forms.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rota.serving.kernels import prefix, queue
from rota.serving.kernels.admission import form_prefill, free_decode_slots, return_to_batch
from rota.serving.kernels.batch import close_row, drop_from_run, finish, gap, join, leave, notify
from rota.serving.kernels.reports import report
from rota.serving.kernels.state import (
    DECODE,
    DECODE_RUN,
    DECODING,
    DYNAMIC,
    FAR,
    GROW,
    IDLE,
    MIXED_STEP,
    MOVING,
    NOTIFY,
    NOTIFY_FIRST,
    PREFILL_STEP,
    PREFILLING,
    QUIET,
    RANK,
    REASON,
    ROWS,
    SEGMENTS,
    TRACK_SERVICE,
    WAITING,
    WAKE,
    WHERE,
)
from rota.serving.kernels.steps import decode_seconds, elapsed, linear, new_blocks, steps_done, steps_until_full

NEVER = np.inf


@njit
def plan(s, i):
    """Decide what instance i does from `start` on."""
    m = s.inst[i]
    m.sent, m.sent_blocks, m.sent_tokens = 0, 0, 0
    admitting = return_to_batch(s, i)
    squeezed = m.chunked and free_decode_slots(s, i)
    if squeezed:
        admitting = False
    budget = m.max_batched - (m.decoding if m.chunked else 0)
    tokens, extra = form_prefill(s, i, admitting, budget)
    if tokens > 0:
        decoding = m.decoding if m.chunked else np.int64(0)
        m.mode = MIXED_STEP if decoding else PREFILL_STEP
        m.run_steps, m.slope = 1, 0.0
        m.first = linear(s, i, decoding + tokens) + extra
        m.first += m.decode_base + m.per_sequence * decoding + m.per_kv * m.kv if decoding else m.prefill_base
    else:
        _plan_decode(s, i, squeezed)
    m.end = m.start + elapsed(m, m.run_steps) if m.mode != IDLE else NEVER
    m.peak_blocks = max(m.peak_blocks, m.total - m.free)


@njit
def _plan_decode(s, i, squeezed):
    """A run of decode steps; after a preemption a single one, since admission has to be tried again."""
    m = s.inst[i]
    squeezed = free_decode_slots(s, i) or squeezed
    if m.decoding == 0:
        m.mode, m.run_steps, m.idle_since = IDLE, 0, m.start
        return
    m.mode = DECODE_RUN
    m.run_steps = 1 if squeezed else steps_until_full(s, i, m.next_finish - m.steps)
    m.first = decode_seconds(s, i, m.decoding, m.kv)
    m.slope = m.per_kv * m.decoding


@njit
def _first_step_gaps(s, i, seconds):
    """Gaps of the first step after an interruption: requests that got their last token together wait equally long."""
    m, since, weight = s.inst[i], -1.0, 0
    for b in range(m.running):
        if s.due[i, b] != FAR:
            last = s.last[i, b] if s.last[i, b] >= 0 else m.last_decode
            s.last[i, b] = -1.0
            if last != since:
                gap(s, i, since, 1, m.start + seconds - since, 0.0, weight)
                since, weight = last, 0
            weight += 1
    gap(s, i, since, 1, m.start + seconds - since, 0.0, weight)


@njit
def _commit_decode(s, i):
    """Count the tokens of the planned decode steps."""
    m, k = s.inst[i], s.inst[i].run_steps
    if k == 0:
        return
    if m.gaps:
        _first_step_gaps(s, i, m.first)
        gap(s, i, m.start + m.first, k - 1, m.first + m.slope, m.slope, m.decoding)
    else:
        gap(s, i, m.start, k, m.first, m.slope, m.decoding)
    m.gaps = 0
    if s.totals[TRACK_SERVICE]:
        for b in range(m.running):
            if s.req[s.run[i, b]].state == DECODE:
                s.service[i, s.req[s.run[i, b]].tenant, 1] += k
    m.free -= new_blocks(s, i, k)
    m.kv += m.decoding * k
    m.steps += k
    m.last_decode = m.end
    prefix.shrink(s, i)


@njit
def _commit_prefill(s, i):
    """Prompts advance; those that are complete get a token and decode from now on."""
    m = s.inst[i]
    for b in range(m.running):
        r = s.run[i, b]
        if s.due[i, b] != FAR or s.req[r].chunk == 0:
            continue
        q = s.req[r]
        q.computed += q.chunk
        m.prefill_left -= q.chunk
        q.chunk = 0
        target = q.prompt + q.generated
        if q.computed < target:
            continue
        prefix.publish(s, i, r, min(target, q.prompt))
        close_row(s, r, PREFILLING, m.end, (target + 15) // 16)
        if q.preempted_at >= 0:
            q.loss += m.end - q.preempted_at
            q.preempted_at = -1.0
        if q.generated > 0:
            gap(s, i, q.last_token, 1, m.end - q.last_token, 0.0, 1)
        elif q.first_token < 0:
            q.first_token = m.end
        q.generated += 1
        q.last_token = m.end
        if s.totals[TRACK_SERVICE]:
            s.service[i, q.tenant, 1] += 1
        join(s, i, b, target)
        if s.totals[NOTIFY_FIRST] and q.generated == 1 and q.output > 1:
            notify(s, i, r)


@njit
def commit(s, i):
    """Bring instance i to the end of what it planned; who finished leaves, and who is to move away is handed over."""
    m = s.inst[i]
    m.busy += m.end - m.start
    if m.mode == DECODE_RUN or m.mode == MIXED_STEP:
        _commit_decode(s, i)
    if m.mode == PREFILL_STEP or m.mode == MIXED_STEP:
        if m.mode == PREFILL_STEP:
            m.gaps = 1
        _commit_prefill(s, i)
    if m.steps >= m.next_finish:
        b = 0
        while b < m.running:
            if s.due[i, b] <= m.steps:
                finish(s, i, b)
            else:
                b += 1
    m.start = m.end
    m.mode = WAKE


@njit
def drain_marked(s, i):
    """Requests marked as leaving stop here; their KV stays until the move is complete."""
    m, b = s.inst[i], 0
    while m.leaving > 0 and b < m.running:
        r = s.run[i, b]
        q = s.req[r]
        if q.leaving and q.state == DECODE:
            kv = leave(s, i, b)
            m.leaving -= 1
            close_row(s, r, DECODING, m.start, (kv + 15) // 16)
            drop_from_run(s, i, b)
            q.state, q.leaving = MOVING, 0
            notify(s, i, r)
        else:
            b += 1


@njit
def advance(s, until, out, reporting):
    """Run every instance up to, not including, the instant `until`; returns why it came back before, or QUIET.

    If `reporting`, `out` then holds what each instance reports at `until`.
    """
    room = 4 * s.run.shape[1] + 64
    while True:
        i = np.argmin(s.inst["end"])
        if not s.inst[i].end < until:
            if reporting:
                report(s, until, out)
            return QUIET
        if s.totals[ROWS] + room > len(s.rows) or s.totals[SEGMENTS] + room > len(s.segments):
            return GROW
        m = s.inst[i]
        s.totals[REASON] = QUIET
        if m.mode != WAKE:
            commit(s, i)
        drain_marked(s, i)
        if s.totals[REASON] == NOTIFY:
            return NOTIFY
        if s.totals[DYNAMIC] and m.waiting > 0:
            s.totals[WHERE] = i
            m.mode = WAKE
            return RANK
        plan(s, i)


@njit
def interrupt(s, i, now):
    """Cut the planned run of instance i at the first boundary at or after `now`; an idle instance wakes at once."""
    m = s.inst[i]
    if m.mode == IDLE:
        m.mode, m.start, m.end, m.run_steps = WAKE, now, now, 0
    elif m.mode == DECODE_RUN and m.run_steps > 1:
        k = steps_done(m, now)
        if k == 0 or m.start + elapsed(m, k) < now:
            k += 1
        if k < m.run_steps:
            m.run_steps = k
            m.end = m.start + elapsed(m, k)


@njit
def enqueue(s, i, r, now):
    """Request r arrives at instance i."""
    m, q = s.inst[i], s.req[r]
    q.state, q.since = WAITING, now
    if q.dispatched < 0:
        q.dispatched = now
    queue.push(s, i, r)
    m.urgent += q.priority > 0
    m.killed += q.preempted_at >= 0
    m.sent += 1
    m.sent_blocks += (q.prompt + q.generated + 15) // 16
    m.sent_tokens += q.prompt + q.generated
    interrupt(s, i, now)
