"""How long steps take, and how many of them fit before something happens: the closed forms."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit
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


@njit
def decode_seconds(s, i, decoding, kv):
    """Duration of one pure decode step."""
    m = s.inst[i]
    return m.decode_base + linear(s, i, decoding) + m.per_sequence * decoding + m.per_kv * kv


@njit
def swap_seconds(m, blocks):
    """Seconds to copy `blocks` KV blocks to or from the CPU, one call a block, layer and K or V."""
    wire = m.swap_latency + blocks * 16 * m.kv_bytes / m.swap_bandwidth
    return max(2 * m.layers * blocks * m.swap_call, wire)


@njit
def elapsed(m, steps):
    """Seconds that the first `steps` steps of the planned run take."""
    return steps * m.first + m.slope * (steps * (steps - 1) / 2.0)


@njit
def steps_done(m, now):
    """Whole steps of a decode run completed by `now`."""
    gone = now - m.start
    if gone <= 0:
        return np.int64(0)
    linear_part = m.first - m.slope / 2.0
    guess = gone / m.first
    if m.slope > 0:
        guess = (math.sqrt(linear_part * linear_part + 2.0 * m.slope * gone) - linear_part) / m.slope
    k = min(np.int64(guess), m.run_steps)
    while k < m.run_steps and elapsed(m, k + 1) <= gone:
        k += 1
    while k > 0 and elapsed(m, k) > gone:
        k -= 1
    return k


@njit
def new_blocks(s, i, steps):
    """KV blocks that the decoding requests take in the next `steps` steps."""
    m, total = s.inst[i], np.int64(0)
    for rho in range(16):
        if s.residue[i, rho]:
            base = m.steps + rho - 1
            total += s.residue[i, rho] * ((base + steps) // 16 - base // 16)
    return total


@njit
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
