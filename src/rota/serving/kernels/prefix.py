"""Prefix cache of one instance: chained chunk hashes -> reference counts, least recently used evicted first.

A chunk is `totals[CHUNK]` tokens of KV. Referenced chunks occupy blocks; unreferenced ones are evictable and count as free.
Open addressing with backward-shift deletion; nodes form a doubly linked list from least to most recently released.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rota.serving.kernels.state import CHUNK, EVICTIONS

NONE = -1


@njit
def _slot(s, i, key):
    """Table slot that holds `key`, or the empty slot where it would go."""
    mask = s.table.shape[1] - 1
    k = (key * np.int64(-7046029254386353131)) >> np.int64(20) & mask
    while s.table[i, k] != NONE and s.node_key[i, s.table[i, k]] != key:
        k = (k + 1) & mask
    return k


@njit
def _home(s, i, node):
    mask = s.table.shape[1] - 1
    return (s.node_key[i, node] * np.int64(-7046029254386353131)) >> np.int64(20) & mask


@njit
def _unlink(s, i, node):
    m = s.inst[i]
    before, after = s.node_prev[i, node], s.node_next[i, node]
    if before == NONE:
        m.lru_first = after
    else:
        s.node_next[i, before] = after
    if after == NONE:
        m.lru_last = before
    else:
        s.node_prev[i, after] = before
    m.evictable -= 1


@njit
def _link_last(s, i, node):
    m = s.inst[i]
    s.node_prev[i, node], s.node_next[i, node] = m.lru_last, NONE
    if m.lru_last == NONE:
        m.lru_first = node
    else:
        s.node_next[i, m.lru_last] = node
    m.lru_last = node
    m.evictable += 1


@njit
def _evict(s, i):
    m = s.inst[i]
    node = m.lru_first
    _unlink(s, i, node)
    mask = s.table.shape[1] - 1
    hole = _slot(s, i, s.node_key[i, node])
    k = (hole + 1) & mask
    while s.table[i, k] != NONE:
        home = _home(s, i, s.table[i, k])
        if ((k - home) & mask) >= ((k - hole) & mask):
            s.table[i, hole] = s.table[i, k]
            hole = k
        k = (k + 1) & mask
    s.table[i, hole] = NONE
    s.node_next[i, node] = m.node_free
    m.node_free = node
    s.totals[EVICTIONS] += 1


@njit
def shrink(s, i):
    """Evict until the evictable chunks fit in the free blocks."""
    m = s.inst[i]
    blocks = s.totals[CHUNK] // 16
    while m.evictable * blocks > m.free:
        _evict(s, i)


@njit
def lookup(s, i, r, tokens):
    """(chunks of request r's prefix cached here, how many of them are unreferenced), within the first `tokens` tokens."""
    hits, loose = 0, 0
    if s.inst[i].cache:
        most = min(s.prefix_start[r + 1] - s.prefix_start[r], tokens // s.totals[CHUNK])
        while hits < most:
            node = s.table[i, _slot(s, i, s.prefix_hash[s.prefix_start[r] + hits])]
            if node == NONE:
                break
            loose += s.node_ref[i, node] == 0
            hits += 1
    return hits, loose


@njit
def acquire(s, i, r, hits):
    """Take references on the first `hits` chunks of request r; unreferenced ones stop counting as free."""
    for h in range(hits):
        node = s.table[i, _slot(s, i, s.prefix_hash[s.prefix_start[r] + h])]
        if s.node_ref[i, node] == 0:
            _unlink(s, i, node)
            s.inst[i].free -= s.totals[CHUNK] // 16
        s.node_ref[i, node] += 1
    s.req[r].held = hits


@njit
def _insert(s, i, key):
    """A new node for `key`, or NONE if the pool is used up by referenced chunks."""
    m = s.inst[i]
    if m.node_free == NONE:
        if m.lru_first == NONE:
            return NONE
        _evict(s, i)
    node = m.node_free
    m.node_free = s.node_next[i, node]
    s.node_key[i, node], s.node_ref[i, node] = key, 0
    s.table[i, _slot(s, i, key)] = node
    return node


@njit
def publish(s, i, r, tokens):
    """Make the chunks within request r's first `tokens` tokens reusable; a duplicate of a cached chunk frees its own copy."""
    m, q = s.inst[i], s.req[r]
    if not m.cache:
        return
    most = min(s.prefix_start[r + 1] - s.prefix_start[r], tokens // s.totals[CHUNK])
    while q.held < most:
        key = s.prefix_hash[s.prefix_start[r] + q.held]
        node = s.table[i, _slot(s, i, key)]
        if node == NONE:
            node = _insert(s, i, key)
            if node == NONE:
                return
        elif s.node_ref[i, node] == 0:
            _unlink(s, i, node)
        else:
            m.free += s.totals[CHUNK] // 16
        s.node_ref[i, node] += 1
        q.held += 1


@njit
def release(s, i, r):
    """Drop request r's references, deepest chunk first; chunks nobody holds become evictable and count as free."""
    q = s.req[r]
    for h in range(q.held - 1, -1, -1):
        node = s.table[i, _slot(s, i, s.prefix_hash[s.prefix_start[r] + h])]
        s.node_ref[i, node] -= 1
        if s.node_ref[i, node] == 0:
            _link_last(s, i, node)
            s.inst[i].free += s.totals[CHUNK] // 16
    q.held = 0
