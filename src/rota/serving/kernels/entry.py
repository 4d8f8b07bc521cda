"""The kernels as the driver calls them: each opens the state behind a handle and goes on compiled."""

from __future__ import annotations

from rota.serving.kernels import engine, fleet, queue, reports
from rota.serving.kernels.handle import borrowing, opened


@borrowing
def advance(h, until, out, reporting):
    """See `engine.advance`."""
    return engine.advance(opened(h), until, out, reporting)


@borrowing
def plan(h, i):
    """See `engine.plan`."""
    engine.plan(opened(h), i)


@borrowing
def enqueue(h, i, r, now):
    """See `engine.enqueue`."""
    engine.enqueue(opened(h), i, r, now)


@borrowing
def report(h, now, out):
    """See `reports.report`."""
    reports.report(opened(h), now, out)


@borrowing
def cached_tokens(h, r, out):
    """See `reports.cached_tokens`."""
    reports.cached_tokens(opened(h), r, out)


@borrowing
def listing(h, i, out):
    """See `queue.listing`."""
    queue.listing(opened(h), i, out)


@borrowing
def rebuild(h, i, ids):
    """See `queue.rebuild`."""
    queue.rebuild(opened(h), i, ids)


@borrowing
def batch(h, i, now, out):
    """See `fleet.batch`."""
    fleet.batch(opened(h), i, now, out)


@borrowing
def tokens_now(h, r, now):
    """See `fleet.tokens_now`."""
    return fleet.tokens_now(opened(h), r, now)


@borrowing
def reserve(h, i, blocks, now):
    """See `fleet.reserve`."""
    return fleet.reserve(opened(h), i, blocks, now)


@borrowing
def unreserve(h, i, blocks, now):
    """See `fleet.unreserve`."""
    fleet.unreserve(opened(h), i, blocks, now)


@borrowing
def mark_leaving(h, r, now):
    """See `fleet.mark_leaving`."""
    fleet.mark_leaving(opened(h), r, now)


@borrowing
def complete_move(h, r, target, now):
    """See `fleet.complete_move`."""
    fleet.complete_move(opened(h), r, target, now)


@borrowing
def withdraw(h, r, now):
    """See `fleet.withdraw`."""
    fleet.withdraw(opened(h), r, now)
