"""The random views of `rota.testing.serving` as Hypothesis strategies (needs the package `hypothesis`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

from rota.serving.model import RequestView
from rota.serving.views import BatchView, FleetView, QueueView
from rota.testing import serving

T = TypeVar("T")


def request_views() -> st.SearchStrategy[RequestView]:
    """Requests."""
    return _seeded(serving.request_view)


def fleet_views() -> st.SearchStrategy[FleetView]:
    """Fleets of which at least one instance accepts."""
    return _seeded(serving.fleet_view)


def batch_views() -> st.SearchStrategy[BatchView]:
    """Batches of at least one request."""
    return _seeded(serving.batch_view)


def queue_views() -> st.SearchStrategy[QueueView]:
    """Queues of at least one request."""
    return _seeded(serving.queue_view)


def _seeded(make: Callable[[np.random.Generator], T]) -> st.SearchStrategy[T]:
    return st.integers(0, 2**32 - 1).map(lambda seed: make(np.random.default_rng(seed)))
