"""One engine: what happens at a step boundary, and how far ahead the next one is.

At a boundary the planned steps are committed (tokens counted, finished requests leave), then the next run is planned:
admission, then either a prefill step, a mixed step, or a run of k decode steps with nothing to decide between them.
k is the least of the steps to the next finish and the steps until the KV blocks run out; both have closed forms.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from rota.serving.kernels import prefix, queue
from rota.serving.kernels.state import (
    CHUNK,
    DECODE,
    DECODE_RUN,
    DECODING,
    DONE,
    DYNAMIC,
    FINISHED,
    GROW,
    IDLE,
    MIGRATING,
    MIXED_STEP,
    MOVING,
    NOTIFY,
    NOTIFY_FIRST,
    OFFLOADED,
    PREEMPTED,
    PREFILL,
    PREFILL_STEP,
    PREFILLING,
    QUEUE,
    QUIET,
    RANK,
    REASON,
    ROWS,
    SEGMENTS,
    SWAPPED,
    TOKENS_SAVED,
    TRACK_SERVICE,
    WAITING,
    WAKE,
    WHERE,
    WHO,
)

NEVER = np.inf
FAR = np.int64(1) << 60


@njit(cache=True)
def linear(s, i, n):
    """g(n) of `StepCost` for instance i, seconds."""
    x, y, last = s.cost_x[i], s.cost_y[i], s.cost_n[i] - 1
    if n <= x[0]:
        return y[0]
    if n >= x[last]:
        if last == 0:
            return y[0]
        return y[last] + (n - x[last]) * (y[last] - y[last - 1]) / (x[last] - x[last - 1])
    k = np.searchsorted(x[: last + 1], n)
    return y[k - 1] + (n - x[k - 1]) * (y[k] - y[k - 1]) / (x[k] - x[k - 1])


@njit(cache=True)
def decode_seconds(s, i, decoding, kv):
    """Duration of one pure decode step."""
    m = s.inst[i]
    return m.decode_base + linear(s, i, decoding) + m.per_sequence * decoding + m.per_kv * kv


@njit(cache=True)
def swap_seconds(m, blocks):
    """Seconds to copy `blocks` KV blocks to or from the CPU, one call a block, layer and K or V."""
    wire = m.swap_latency + blocks * 16 * m.kv_bytes / m.swap_bandwidth
    return max(2 * m.layers * blocks * m.swap_call, wire)


@njit(cache=True)
def elapsed(m, steps):
    """Seconds that the first `steps` steps of the planned run take."""
    return steps * m.first + m.slope * (steps * (steps - 1) / 2.0)


@njit(cache=True)
def steps_done(m, now):
    """Whole steps of a decode run completed by `now`."""
    gone = now - m.start
    if gone <= 0:
        return np.int64(0)
    linear_part = m.first - m.slope / 2.0
    if m.slope > 0:
        guess = (math.sqrt(linear_part * linear_part + 2.0 * m.slope * gone) - linear_part) / m.slope
    else:
        guess = gone / m.first
    k = min(np.int64(guess), m.run_steps)
    while k < m.run_steps and elapsed(m, k + 1) <= gone:
        k += 1
    while k > 0 and elapsed(m, k) > gone:
        k -= 1
    return k


@njit(cache=True)
def new_blocks(s, i, steps):
    """KV blocks that the decoding requests take in the next `steps` steps."""
    m, total = s.inst[i], np.int64(0)
    for rho in range(16):
        if s.residue[i, rho]:
            base = m.steps + rho - 1
            total += s.residue[i, rho] * ((base + steps) // 16 - base // 16)
    return total


@njit(cache=True)
def steps_until_full(s, i, most):
    """Most steps (up to `most`) that the free blocks allow."""
    m = s.inst[i]
    if new_blocks(s, i, most) <= m.free:
        return most
    low, high = np.int64(0), most
    while high - low > 1:
        middle = (low + high) // 2
        if new_blocks(s, i, middle) <= m.free:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True)
def kv_tokens(s, r):
    """Tokens of KV that a decoding request holds, as of the last boundary."""
    return s.req[r].offset + s.inst[s.req[r].instance].steps


@njit(cache=True)
def close_row(s, r, kind, end, blocks):
    """Record that request r's present phase was of `kind` and ended at `end`, holding `blocks` KV blocks."""
    q = s.req[r]
    if end > q.since:
        row = s.rows[s.count[ROWS]]
        row.request, row.instance, row.kind, row.start, row.end, row.blocks = r, q.instance, kind, q.since, end, blocks
        s.count[ROWS] += 1
    q.since = end


@njit(cache=True)
def _gap(s, i, start, count, first, slope, weight):
    if count > 0 and weight > 0:
        g = s.segments[s.count[SEGMENTS]]
        g.instance, g.start, g.count, g.first, g.slope, g.weight = i, start, count, first, slope, weight
        s.count[SEGMENTS] += 1


@njit(cache=True)
def _held_blocks(s, r, tokens):
    return (tokens + 15) // 16 - s.req[r].held * (s.count[CHUNK] // 16)


@njit(cache=True)
def join(s, i, r, kv):
    """Request r, with `kv` tokens of KV here and listed in `run`, decodes from the next step on."""
    m, q = s.inst[i], s.req[r]
    q.state = DECODE
    q.offset = kv - m.steps
    q.joined = m.steps
    q.finish_step = q.prompt + q.output - 1 - q.offset
    m.next_finish = min(m.next_finish, q.finish_step)
    s.residue[i, q.offset % 16] += 1
    m.decoding += 1
    m.kv += kv
    m.gaps = 1


@njit(cache=True)
def leave(s, i, r):
    """A decoding request stops decoding (its KV stays); returns its tokens of KV."""
    m, q = s.inst[i], s.req[r]
    kv = q.offset + m.steps
    s.residue[i, q.offset % 16] -= 1
    m.decoding -= 1
    m.kv -= kv
    q.generated = kv - q.prompt + 1
    if q.joined < m.steps:
        q.last_token = m.last_decode
    if q.finish_step == m.next_finish:
        m.next_finish = FAR
        for b in range(m.running):
            other = s.req[s.run[i, b]]
            if other.state == DECODE and s.run[i, b] != r:
                m.next_finish = min(m.next_finish, other.finish_step)
    return kv


@njit(cache=True)
def drop_from_run(s, i, position):
    """Close the gap that a leaving request leaves in the batch."""
    m = s.inst[i]
    for b in range(position, m.running - 1):
        s.run[i, b] = s.run[i, b + 1]
    m.running -= 1


@njit(cache=True)
def _finish(s, i, position):
    m, r = s.inst[i], s.run[i, position]
    q = s.req[r]
    kv = q.prompt + q.output - 1
    if q.state == DECODE:
        kv = leave(s, i, r)
    prefix.publish(s, i, r, kv)
    close_row(s, r, DECODING, m.end, (kv + 15) // 16)
    m.free += _held_blocks(s, r, kv)
    prefix.release(s, i, r)
    drop_from_run(s, i, position)
    q.state, q.finish, q.last_token, q.generated = DONE, m.end, m.end, q.output
    q.epoch += 1
    m.urgent -= q.priority > 0
    s.count[FINISHED] += 1
    if q.children > 0 or q.leaving:
        _notify(s, i, r)


@njit(cache=True)
def _notify(s, i, r):
    """Tell the driver of request r: it ended, got its first token, or was drained. Several are chained through `next`."""
    if s.count[REASON] == QUIET:
        s.count[REASON], s.count[WHERE], s.count[WHO] = NOTIFY, i, -1
    s.req[r].next = s.count[WHO]
    s.count[WHO] = r


@njit(cache=True)
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
    kv = leave(s, i, r) if decoding else q.prompt + q.generated
    close_row(s, r, DECODING if decoding else PREFILLING, m.start, (kv + 15) // 16)
    blocks = _held_blocks(s, r, kv)
    m.free += blocks
    if not decoding:
        m.prefill_left -= kv - q.computed
    drop_from_run(s, i, position)
    q.epoch += 1
    q.preemptions += 1
    if q.preempted_at < 0:
        q.preempted_at = m.start
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


@njit(cache=True)
def _resume(s, r, kind, now, blocks):
    """The end of a wait: close its row and count what a preemption cost so far."""
    q = s.req[r]
    close_row(s, r, kind, now, blocks)
    if q.preempted_at >= 0:
        s.inst[q.instance].killed -= 1
        if kind == OFFLOADED:
            q.loss += now - q.preempted_at
            q.preempted_at = -1.0


@njit(cache=True)
def _enter(s, i):
    """Move the head of the queue, whose KV exists already (migrated in, or swapped out), back to the batch; False if no room."""
    m, r = s.inst[i], s.inst[i].head
    q = s.req[r]
    if q.state == SWAPPED:
        if m.free - q.swap_blocks < (m.watermark if m.running else 0):
            return False
        m.free -= q.swap_blocks
        m.cpu_free += q.swap_blocks
        m.start += swap_seconds(m, q.swap_blocks)
        queue.pop(s, i)
        _resume(s, r, OFFLOADED, m.start, 0)
    else:
        queue.pop(s, i)
        close_row(s, r, MIGRATING, m.start, 0)
    s.run[i, m.running] = r
    m.running += 1
    join(s, i, r, q.prompt + q.generated - 1)
    return True


@njit(cache=True)
def _admit(s, i, budget, reserve):
    """Admit the head of the queue for prefill if it fits and leaves `reserve` blocks; returns the tokens to compute now, or -1."""
    m, r = s.inst[i], s.inst[i].head
    q = s.req[r]
    target = q.prompt + q.generated
    hits, loose = prefix.lookup(s, i, r, target - 1)
    left = target - hits * s.count[CHUNK]
    chunk_blocks = s.count[CHUNK] // 16
    need = (target + 15) // 16 - (hits - loose) * chunk_blocks
    if m.free - need - reserve < m.watermark or (not m.chunked and budget < left and budget < m.max_batched) or budget <= 0:
        return -1
    queue.pop(s, i)
    _resume(s, r, PREEMPTED if q.preemptions else QUEUE, m.start, 0)
    prefix.acquire(s, i, r, hits)
    m.free -= need - loose * chunk_blocks
    prefix.shrink(s, i)
    s.count[TOKENS_SAVED] += hits * s.count[CHUNK]
    if q.admitted < 0:
        q.admitted, q.cached = m.start, hits * s.count[CHUNK]
    if s.count[TRACK_SERVICE]:
        s.service[i, q.tenant, 0] += left
    q.state, q.computed, q.hits = PREFILL, target - left, 1
    s.run[i, m.running] = r
    m.running += 1
    m.prefill_left += left
    return min(left, budget) if m.chunked else left


@njit(cache=True)
def _chunk(s, i, r, tokens):
    """Give request r `tokens` of prefill in the step being formed; returns its cost beyond g(N)."""
    m, q = s.inst[i], s.req[r]
    q.chunk = tokens
    cost = m.quadratic * tokens * (q.computed + tokens / 2.0) + m.per_prompt * q.hits
    q.hits = 0
    return cost


@njit(cache=True)
def _free_decode_slots(s, i):
    """Preempt until the next decode step has its blocks; True if somebody was preempted."""
    squeezed = False
    while new_blocks(s, i, 1) > s.inst[i].free and preempt(s, i):
        squeezed = True
    return squeezed


@njit(cache=True)
def _return_to_batch(s, i):
    """Let requests whose KV exists (migrated in, swapped out) back into the batch; False while one of them finds no room."""
    m = s.inst[i]
    while m.head >= 0 and s.req[m.head].state != WAITING:
        if m.running >= m.max_sequences or not _enter(s, i):
            return False
    return True


@njit(cache=True)
def _continue_prefills(s, i, budget):
    """Give prefills already begun their next chunks; returns (tokens, extra seconds)."""
    tokens, extra = np.int64(0), 0.0
    for b in range(s.inst[i].running):
        q = s.req[s.run[i, b]]
        if q.state == PREFILL and budget > tokens:
            part = min(q.prompt + q.generated - q.computed, budget - tokens)
            extra += _chunk(s, i, s.run[i, b], part)
            tokens += part
    return tokens, extra


@njit(cache=True)
def _form_prefill(s, i, admitting, budget):
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


@njit(cache=True)
def plan(s, i):
    """Decide what instance i does from `start` on."""
    m = s.inst[i]
    m.sent, m.sent_blocks, m.sent_tokens = 0, 0, 0
    admitting = _return_to_batch(s, i)
    squeezed = m.chunked and _free_decode_slots(s, i)
    if squeezed:
        admitting = False
    budget = m.max_batched - (m.decoding if m.chunked else 0)
    tokens, extra = _form_prefill(s, i, admitting, budget)
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


@njit(cache=True)
def _plan_decode(s, i, squeezed):
    """A run of decode steps; after a preemption a single one, since admission has to be tried again."""
    m = s.inst[i]
    squeezed = _free_decode_slots(s, i) or squeezed
    if m.decoding == 0:
        m.mode, m.run_steps, m.idle_since = IDLE, 0, m.start
        return
    m.mode = DECODE_RUN
    m.run_steps = 1 if squeezed else steps_until_full(s, i, m.next_finish - m.steps)
    m.first = decode_seconds(s, i, m.decoding, m.kv)
    m.slope = m.per_kv * m.decoding


@njit(cache=True)
def _first_step_gaps(s, i, seconds):
    """Gaps of the first step after an interruption: requests that got their last token together wait equally long."""
    m, since, weight = s.inst[i], -1.0, 0
    for b in range(m.running):
        q = s.req[s.run[i, b]]
        if q.state == DECODE:
            last = m.last_decode if q.joined < m.steps else q.last_token
            if last != since:
                _gap(s, i, since, 1, m.start + seconds - since, 0.0, weight)
                since, weight = last, 0
            weight += 1
    _gap(s, i, since, 1, m.start + seconds - since, 0.0, weight)


@njit(cache=True)
def _commit_decode(s, i):
    """Count the tokens of the planned decode steps."""
    m, k = s.inst[i], s.inst[i].run_steps
    if k == 0:
        return
    if m.gaps:
        _first_step_gaps(s, i, m.first)
        _gap(s, i, m.start + m.first, k - 1, m.first + m.slope, m.slope, m.decoding)
    else:
        _gap(s, i, m.start, k, m.first, m.slope, m.decoding)
    m.gaps = 0
    if s.count[TRACK_SERVICE]:
        for b in range(m.running):
            if s.req[s.run[i, b]].state == DECODE:
                s.service[i, s.req[s.run[i, b]].tenant, 1] += k
    m.free -= new_blocks(s, i, k)
    m.kv += m.decoding * k
    m.steps += k
    m.last_decode = m.end
    prefix.shrink(s, i)


@njit(cache=True)
def _commit_prefill(s, i):
    """Prompts advance; those that are complete get a token and decode from now on."""
    m = s.inst[i]
    for b in range(m.running):
        r = s.run[i, b]
        q = s.req[r]
        if q.state != PREFILL or q.chunk == 0:
            continue
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
            _gap(s, i, q.last_token, 1, m.end - q.last_token, 0.0, 1)
        elif q.first_token < 0:
            q.first_token = m.end
        q.generated += 1
        q.last_token = m.end
        if s.count[TRACK_SERVICE]:
            s.service[i, q.tenant, 1] += 1
        join(s, i, r, target)
        if s.count[NOTIFY_FIRST] and q.generated == 1 and q.output > 1:
            _notify(s, i, r)


@njit(cache=True)
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
            q = s.req[s.run[i, b]]
            if q.state == DECODE and q.finish_step <= m.steps:
                _finish(s, i, b)
            else:
                b += 1
    m.start = m.end
    m.mode = WAKE


@njit(cache=True)
def drain_marked(s, i):
    """Requests marked as leaving stop here; their KV stays until the move is complete."""
    m, b = s.inst[i], 0
    while b < m.running:
        r = s.run[i, b]
        q = s.req[r]
        if q.leaving and q.state == DECODE:
            kv = leave(s, i, r)
            close_row(s, r, DECODING, m.start, (kv + 15) // 16)
            drop_from_run(s, i, b)
            q.state, q.leaving = MOVING, 0
            _notify(s, i, r)
        else:
            b += 1


@njit(cache=True)
def advance(s, until):
    """Run every instance up to, not including, the instant `until`; returns why it came back before, or QUIET."""
    room = 4 * s.run.shape[1] + 64
    while True:
        i = np.argmin(s.inst["end"])
        if not s.inst[i].end < until:
            return QUIET
        if s.count[ROWS] + room > len(s.rows) or s.count[SEGMENTS] + room > len(s.segments):
            return GROW
        m = s.inst[i]
        s.count[REASON] = QUIET
        if m.mode != WAKE:
            commit(s, i)
        drain_marked(s, i)
        if s.count[REASON] == NOTIFY:
            return NOTIFY
        if s.count[DYNAMIC] and m.waiting > 0:
            s.count[WHERE] = i
            m.mode = WAKE
            return RANK
        plan(s, i)


@njit(cache=True)
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


@njit(cache=True)
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
