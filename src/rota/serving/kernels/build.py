"""Fresh state arrays for a fleet and a workload."""

from __future__ import annotations

import numpy as np

from rota.serving.kernels.state import FAR, IDLE, INSTANCE, OFF, REQUEST, ROW, SEGMENT, SERVING, State
from rota.serving.model import BLOCK, Fleet, Instance, Workload


def new_state(fleet: Fleet, workload: Workload) -> State:
    """Everything idle, every request in the future."""
    n, kinds = len(fleet), fleet.kinds
    cost_x, cost_y, cost_n = _cost_tables(kinds)
    nodes, slots = _cache_size(kinds, workload)
    return State(
        inst=_instances(fleet, nodes),
        req=_requests(workload),
        run=np.zeros((n, max(k.max_sequences for k in kinds)), np.int64),
        due=np.zeros((n, max(k.max_sequences for k in kinds)), np.int64),
        last=np.zeros((n, max(k.max_sequences for k in kinds))),
        residue=np.zeros((n, BLOCK), np.int64),
        cost_x=cost_x, cost_y=cost_y, cost_n=cost_n,
        rows=np.zeros(4 * len(workload) + 65536, ROW),
        segments=np.zeros(4 * len(workload) + 65536, SEGMENT),
        totals=np.zeros(16, np.int64),
        service=np.zeros((n, len(workload.tenants), 2), np.int64),
        prefix_start=workload.prefix_start, prefix_hash=workload.prefix_hash,
        table=np.full((n, slots), -1, np.int64),
        node_key=np.zeros((n, nodes), np.int64), node_ref=np.zeros((n, nodes), np.int64),
        node_prev=np.full((n, nodes), -1, np.int64),
        node_next=np.tile(np.append(np.arange(1, nodes), -1), (n, 1)).astype(np.int64),
    )  # fmt: skip


def larger(state: State) -> State:
    """The same state with twice the room for rows and segments."""
    return state._replace(rows=_doubled(state.rows), segments=_doubled(state.segments))


def _doubled(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros(len(array), array.dtype)])


def _cost_tables(kinds: tuple[Instance, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    widest = max(len(k.cost.tokens) for k in kinds)
    x, y = np.zeros((len(kinds), widest)), np.zeros((len(kinds), widest))
    for i, kind in enumerate(kinds):
        x[i, : len(kind.cost.tokens)], y[i, : len(kind.cost.tokens)] = kind.cost.tokens, kind.cost.seconds
    return x, y, np.array([len(k.cost.tokens) for k in kinds], np.int64)


def _cache_size(kinds: tuple[Instance, ...], workload: Workload) -> tuple[int, int]:
    """Chunks a prefix cache can hold at most, and slots of its hash table (a power of two, at most half full)."""
    if not any(k.prefix_cache for k in kinds):
        return 1, 1
    nodes = max(k.blocks for k in kinds) * BLOCK // workload.prefix_chunk + 1
    return nodes, 1 << (2 * nodes).bit_length()


def _instances(fleet: Fleet, nodes: int) -> np.ndarray:
    inst = np.zeros(len(fleet), INSTANCE)
    on = len(fleet) if fleet.initial is None else fleet.initial
    inst["on"] = np.where(np.arange(len(fleet)) < on, SERVING, OFF)
    for name in ("head", "tail", "lru_first", "lru_last"):
        inst[name] = -1
    inst["mode"], inst["end"], inst["next_finish"] = IDLE, np.inf, FAR
    inst["last_decode"] = -1.0
    for m, kind in zip(inst, fleet.kinds, strict=True):
        m["total"] = m["free"] = kind.blocks
        m["watermark"], m["max_sequences"], m["max_batched"] = (
            kind.watermark_blocks,
            kind.max_sequences,
            kind.max_batched_tokens,
        )
        m["chunked"], m["cache"], m["layers"] = kind.prefill == "chunked", kind.prefix_cache, kind.layers
        m["cpu_free"], m["kv_bytes"] = kind.cpu_blocks, kind.kv_bytes
        m["swap_latency"], m["swap_bandwidth"], m["swap_call"] = kind.swap.latency, kind.swap.bandwidth, kind.swap_call
        for name in ("decode_base", "prefill_base", "per_sequence", "quadratic", "per_prompt"):
            m[name] = getattr(kind.cost, name)
        m["per_kv"] = kind.cost.per_kv_token
    return inst


def _requests(workload: Workload) -> np.ndarray:
    req = np.zeros(len(workload), REQUEST)
    for name in ("arrival", "prompt", "output", "tenant", "priority"):
        req[name] = getattr(workload, name)
    for name in ("dispatched", "admitted", "first_token", "finish", "preempted_at"):
        req[name] = -1.0
    req["next"] = -1
    req["instance"] = -1
    children = np.concatenate([workload.parent[workload.parent >= 0], workload.joins[:, 1]])
    req["children"] = np.bincount(children, minlength=len(workload))
    return req
