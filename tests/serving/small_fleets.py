"""Small engines, workloads and views that several tests share."""

import numpy as np

from rota.serving.model import Fleet, Instance, StepCost, Transfer, Workload
from rota.serving.views import BatchView, FleetView

COST = StepCost((0.0, 1.0), (0.0, 2e-4), decode_base=0.02, prefill_base=0.005, per_sequence=3e-4, per_kv_token=1e-6)


def engine(name="tiny", cost=COST, **options):
    """A small engine; whole prefill, 128 blocks."""
    defaults = {"blocks": 128, "max_sequences": 16, "max_batched_tokens": 2048, "prefill": "whole", "kv_bytes": 1e5}
    return Instance(
        name, cost, **{**defaults, "migration": Transfer(1e9, 0.005), "swap": Transfer(1e9, 1e-3), **options}
    )


def fleet(count=2, **options):
    """Equal engines; options of `Fleet` or `Instance`."""
    own = {key: options.pop(key) for key in ("initial", "startup", "report_interval", "counts_sent") if key in options}
    return Fleet.of(engine(**options), count, **own)


def requests(n, seed=0, rate=5.0, prompt=200, output=150, **columns):
    """Poisson arrivals, uniform lengths."""
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1 / rate, n))
    return Workload.of(arrival, rng.integers(1, prompt, n), rng.integers(1, output, n), **columns)


def view(free, cached=None, **columns):
    """A `FleetView` of engines with 100 blocks and no watermark; zeros where nothing is said."""
    n = len(free)
    zeros = np.zeros(n, np.int64)
    names = ("watermark", "running", "waiting", "waiting_blocks", "head_blocks", "urgent", "killed", "kv_tokens")
    more = ("prefill_tokens", "sent", "sent_blocks", "sent_tokens")
    filled = {name: np.array(columns.pop(name, zeros)) for name in (*names, *more)}
    yes, no = np.ones(n, bool), np.zeros(n, bool)
    masks = {"accepting": yes, "active": yes, "migrating": no}
    filled |= {name: np.array(columns.pop(name, value)) for name, value in masks.items()}
    total = np.array(columns.pop("total", [100] * n))
    kinds = columns.pop("kinds", (engine(blocks=100),) * n)
    assert not columns
    hits = zeros if cached is None else np.array(cached)
    return FleetView(
        now=10.0, as_of=np.full(n, 10.0), total=total, free=np.array(free), kinds=kinds, cached=lambda _: hits, **filled
    )


def batch(blocks, priority=None, decoding=None, movable=None, ids=None):
    """A `BatchView` of requests with these blocks."""
    n = len(blocks)
    decoding = np.ones(n, bool) if decoding is None else np.array(decoding)
    return BatchView(
        10.0, 0, np.arange(n) + 50 if ids is None else np.array(ids), np.array(priority or [0] * n), np.zeros(n, np.int64),
        np.array(blocks) * 16 - 8, np.full(n, 4), np.array(blocks), decoding, decoding if movable is None else np.array(movable),
    )  # fmt: skip
