"""Pictures: a line for each schedule, through its own values."""

import numpy as np
import pytest

pytest.importorskip("plotly")

from rota.training import linear, rex, warmup
from rota.training.pictures import POINTS, figure


def test_a_line_goes_through_every_step():
    drawn = figure({"rex": rex(), "linear": linear()}, 100)
    assert [line.name for line in drawn.data] == ["rex", "linear"]
    np.testing.assert_array_equal(drawn.data[0].x, np.arange(101))
    np.testing.assert_array_equal(drawn.data[0].y[:100], rex().table(100))
    assert drawn.data[0].line.color != drawn.data[1].line.color


def test_a_long_run_is_thinned_from_end_to_end():
    line = figure({"rex": rex()}, 10**7).data[0]
    assert (len(line.x), line.x[0], line.x[-1]) == (POINTS, 0, 10**7)


def test_a_schedule_draws_itself_under_its_own_name():
    one = warmup(0.1) >> rex()
    drawn = one.plot(50)
    assert drawn.data[0].name == repr(one)
    assert max(drawn.data[0].y) == 1.0


def test_many_lines_can_be_told_apart():
    lines = figure({str(k): rex(k / 40) for k in range(20)}, 10).data
    assert len({(line.line.color, line.line.dash) for line in lines}) == 20
