"""The waiting queue of an instance: a linked list through the requests, ordered by (rank, arrival in the queue)."""

from __future__ import annotations

from numba import njit

from rota.serving.kernels.state import RESIDENT, WAITING

NONE = -1


@njit
def _demand(q):
    """(blocks, tokens) that a queued request asks for; none if its KV already exists."""
    if q.state != WAITING:
        return 0, 0
    tokens = q.prompt + q.generated
    return (tokens + 15) // 16, tokens


@njit
def _precedes(q, other):
    """Requests whose KV is here go first (they hold memory), then those whose KV is on the CPU, then the smaller rank."""
    if q.state != other.state:
        return q.state == RESIDENT or other.state == WAITING
    return q.rank < other.rank


@njit
def push(s, i, r):
    """Queue request r on instance i; equal ranks keep their order."""
    m, q = s.inst[i], s.req[r]
    blocks, tokens = _demand(q)
    q.instance = i
    m.waiting += 1
    m.wait_blocks += blocks
    m.wait_tokens += tokens
    if m.head == NONE or _precedes(q, s.req[m.head]):
        q.next = m.head
        m.head = r
        if m.tail == NONE:
            m.tail = r
        return
    if not _precedes(q, s.req[m.tail]):
        before = m.tail
    else:
        before = m.head
        while not _precedes(q, s.req[s.req[before].next]):
            before = s.req[before].next
    q.next = s.req[before].next
    s.req[before].next = r
    if before == m.tail:
        m.tail = r


@njit
def pop(s, i):
    """Take the first request off the queue."""
    m = s.inst[i]
    r = m.head
    q = s.req[r]
    blocks, tokens = _demand(q)
    m.head = q.next
    if m.head == NONE:
        m.tail = NONE
    q.next = NONE
    m.waiting -= 1
    m.wait_blocks -= blocks
    m.wait_tokens -= tokens
    return r


@njit
def listing(s, i, out):
    """Write the queued requests into `out` in order; returns how many."""
    n, r = 0, s.inst[i].head
    while r != NONE:
        out[n] = r
        n += 1
        r = s.req[r].next
    return n


@njit
def rebuild(s, i, ids):
    """Give the queue the order of `ids`, a permutation of what it holds."""
    m = s.inst[i]
    m.head, m.tail = NONE, NONE
    for r in ids:
        s.req[r].next = NONE
        if m.tail == NONE:
            m.head = r
        else:
            s.req[m.tail].next = r
        m.tail = r


@njit
def remove(s, i, r):
    """Take request r out of the queue, wherever it stands."""
    m = s.inst[i]
    if m.head == r:
        pop(s, i)
        return
    before = m.head
    while s.req[before].next != r:
        before = s.req[before].next
    q = s.req[r]
    blocks, tokens = _demand(q)
    s.req[before].next = q.next
    if m.tail == r:
        m.tail = before
    q.next = NONE
    m.waiting -= 1
    m.wait_blocks -= blocks
    m.wait_tokens -= tokens
