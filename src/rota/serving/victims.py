"""Rules that policies share: which request of a batch must go, and which instances to pair for a move."""

from __future__ import annotations

import numpy as np

from rota.core.errors import UnknownName
from rota.serving.model import Floats
from rota.serving.views import BatchView, FleetView

VICTIMS = ("last", "longest", "shortest")


def checked_victim_rule(rule: str) -> str:
    """`rule` if it is one of `VICTIMS`; else `UnknownName`."""
    if rule not in VICTIMS:
        raise UnknownName("victim rule", rule, VICTIMS)
    return rule


def pick_victim(batch: BatchView, rule: str) -> int | None:
    """Identity of the normal-priority, movable request to take out of a batch, or None.

    Args:
        batch: the running requests, in order of admission.
        rule: `last` admitted (LCR in Llumnix's code), `longest` or `shortest` KV.
    """
    candidates = np.flatnonzero(batch.movable & (batch.priority == 0))
    if not len(candidates):
        return None
    if rule == "last":
        return int(batch.id[candidates[-1]])
    blocks = batch.blocks[candidates]
    return int(batch.id[candidates[np.argmax(blocks) if rule == "longest" else np.argmin(blocks)]])


def pair_by_load(fleet: FleetView, freeness: Floats, threshold: float) -> list[tuple[int, int]]:
    """Pair instances below `threshold` freeness (or with preempted requests) with those above it, worst with best.

    Draining instances are sources whatever their load; instances in a migration are left alone; both serve the same model.
    """
    idle = ~fleet.migrating & fleet.active
    draining = fleet.active & ~fleet.accepting
    needy = idle & (fleet.running > 0) & ((fleet.killed > 0) | (freeness < threshold) | draining)
    able = idle & fleet.accepting & (fleet.killed == 0) & (freeness > threshold)
    urgency = np.where(draining, -np.inf, freeness)
    models = [kind.model for kind in fleet.kinds]
    targets = _ascending(able, -freeness)
    pairs = []
    for source in _ascending(needy, urgency):
        target = next((t for t in targets if models[t] == models[source]), None)
        if target is not None:
            targets.remove(target)
            pairs.append((source, target))
    return pairs


def _ascending(chosen: np.ndarray, key: Floats) -> list[int]:
    index = np.flatnonzero(chosen)
    order: list[int] = index[np.argsort(key[index], kind="stable")].tolist()
    return order


def last_of_lowest_priority(batch: BatchView) -> int:
    """Position in the batch of the request that must go first when memory runs out."""
    lowest = np.flatnonzero(batch.priority == batch.priority.min())
    return int(lowest[-1])
