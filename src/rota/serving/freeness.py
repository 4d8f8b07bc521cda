"""Freeness: how many decode steps an instance could still take for each of its requests (Llumnix, OSDI'24, section 4.4).

All functions give (n,) float64, larger is freer; load is its negative. head-room is in blocks.
"""

from __future__ import annotations

import numpy as np

from rota.serving.model import BLOCK, Floats
from rota.serving.views import FleetView


def available_blocks(fleet: FleetView) -> Floats:
    """Free blocks beyond the watermark, less what the queue needs."""
    return (fleet.free - fleet.watermark - fleet.waiting_blocks - fleet.sent_blocks).astype(np.float64)


def dispatch_freeness(fleet: FleetView, penalty: Floats | float = 0.0) -> Floats:
    """Freeness for a new request: blocks available (less `penalty`) per request running or waiting."""
    requests = fleet.running + fleet.waiting + fleet.sent
    return _per_request(available_blocks(fleet) - penalty, requests)


def head_room(fleet: FleetView, target_load: int) -> Floats:
    """Blocks to keep free on an instance that hosts an urgent request, so that it decodes at near-ideal speed.

    Args:
        fleet: reports.
        target_load: tokens of KV that such an instance is held to (1,600 in section 6.4); 0 keeps nothing free.
    """
    kept = fleet.total - target_load / BLOCK if target_load > 0 else np.zeros(len(fleet))
    return np.maximum(kept, 0.0)


def migration_freeness(fleet: FleetView, head_room: Floats | float = 0.0, defragment: bool = True) -> Floats:
    """Freeness for rescheduling.

    Args:
        fleet: reports.
        head_room: blocks set aside on instances that host a request of high priority.
        defragment: count the queue's demand as used already, and the first queued request as running (virtual usage),
            so that an instance where a request waits for room looks overloaded.
    """
    reserved = head_room * (fleet.urgent > 0)
    if not defragment:
        return _per_request(fleet.free - fleet.watermark - reserved, fleet.running)
    queued = (fleet.waiting + fleet.sent) > 0
    return _per_request(available_blocks(fleet) - reserved, fleet.running + queued)


def _per_request(blocks: Floats, requests: np.ndarray) -> Floats:
    """`blocks / requests`; an instance without requests is as free as can be, the more so the more blocks it has."""
    empty = requests == 0
    return np.where(empty, 1e9 + blocks, blocks / np.where(empty, 1, requests))
