"""The engines, driven from Python: what the driver asks of them leaves no array behind."""

from __future__ import annotations

import numpy as np
from small_fleets import fleet

from rota.serving.engines import Engines
from rota.serving.kernels.state import ROWS
from rota.serving.model import Workload


def test_rows_grow_where_a_long_queue_is_taken_back() -> None:
    """Each request taken back closes a row, and nothing else asks whether there is room."""
    w = Workload.of(np.zeros(9), np.full(9, 16), np.full(9, 4))
    engines = Engines(fleet(1), w)
    room = len(engines.state.rows)
    engines.totals[ROWS] = room - 3
    for request in range(9):
        engines.enqueue(0, request, 0.0)
    for request in range(9):
        engines.withdraw(request, 1.0)
    assert engines.totals[ROWS] == room + 6
    assert len(engines.state.rows) == 2 * room
    assert engines.state.rows["request"][room - 3 : room + 6].tolist() == list(range(9))
    assert engines.inst["waiting"].tolist() == [0]
