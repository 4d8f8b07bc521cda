"""What instances report of themselves, and what their prefix caches hold."""

from __future__ import annotations

from numba import njit

from rota.serving.kernels import prefix
from rota.serving.kernels.state import CHUNK, DECODE_RUN, IDLE, WAITING
from rota.serving.kernels.steps import elapsed, new_blocks, steps_done


@njit
def report(s, now, out):
    """Write into `out` (REPORT, one a instance) what each instance said after its last step that ended by `now`."""
    for i in range(len(s.inst)):
        m, o = s.inst[i], out[i]
        steps = steps_done(m, now) if m.mode == DECODE_RUN else 0
        o.as_of = now if m.mode == IDLE else m.start + elapsed(m, steps)
        o.free = m.free - new_blocks(s, i, steps)
        o.running = m.running
        o.waiting = m.waiting - m.sent
        o.waiting_blocks = m.wait_blocks - m.sent_blocks
        o.head_blocks = 0
        if m.head >= 0 and s.req[m.head].state == WAITING:
            o.head_blocks = (s.req[m.head].prompt + s.req[m.head].generated + 15) // 16
        o.urgent, o.killed = m.urgent, m.killed
        o.kv_tokens = m.kv + m.decoding * steps
        o.prefill_tokens = m.prefill_left + m.wait_tokens - m.sent_tokens
        o.sent, o.sent_blocks, o.sent_tokens = m.sent, m.sent_blocks, m.sent_tokens


@njit
def cached_tokens(s, r, out):
    """Write the prompt tokens of request r that each instance's prefix cache holds."""
    for i in range(len(s.inst)):
        out[i] = prefix.lookup(s, i, r, s.req[r].prompt - 1)[0] * s.totals[CHUNK]
