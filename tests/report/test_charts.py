import numpy as np
import pytest
import synthetic

from rota.core.results import Row
from rota.report import charts
from rota.report.comparison import compare, grouped
from rota.report.distribution import distribution, nines


def outcomes(results):
    return next(iter(grouped(results).values()))


def test_the_forest_draws_every_mean_and_the_baseline(results):
    compared = compare(results)
    rows = [row for row in compared.rows if row.group == compared.rows[0].group]
    figure = charts.forest(rows, compared.metrics[0])
    means = [row.figures["ttft_mean"].mean for row in rows]
    assert list(figure.data[0].x) == means
    assert list(figure.data[0].marker.symbol) == ["circle", "circle", "diamond"]
    assert figure.layout.shapes[0].x0 == means[0]
    assert figure.layout.xaxis.title.text == "time to first token, mean (s)"


def test_the_distribution_is_the_mean_over_seeds(results):
    figure = distribution(outcomes(results), "ttft")
    line = next(trace for trace in figure.data if trace.hovertemplate and "freeness" in trace.hovertemplate)
    x = float(np.interp(nines(0.9), line.y, line.x))
    shares = [np.interp(x, row.curves["ttft"]["x"], row.curves["ttft"]["y"]) for row in outcomes(results)["freeness"]]
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


def test_the_axis_of_nines():
    assert nines([0.9, 0.99, 0.999]) == pytest.approx([1, 2, 3])


@pytest.mark.parametrize(
    "x",
    [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.0, 0.1, 2.0], [float("nan"), 0.1, 0.2]],
    ids=["zero", "equal", "from zero", "nan"],
)
def test_distributions_of_odd_values(x):
    rows = {"a": [Row({}, {}, {"ttft": {"x": x, "y": [0.0, 0.5, 1.0]}}, 0.0)]}
    y = np.concatenate([trace.y for trace in distribution(rows, "ttft").data])
    assert np.isfinite(y).all()


def test_a_curve_that_nobody_has_is_an_empty_chart():
    assert len(distribution({"a": [Row({}, {}, {}, 0.0)]}, "ttft").data) == 0
    assert len(charts.over_time({"a": []}, "load", "load").data) == 0


def test_load_over_time_keeps_its_peaks(results):
    figure = charts.over_time(outcomes(results), "running", "requests running")
    peak = max(max(trace.y) for trace in figure.data)
    assert peak == max(max(row.curves["running"]["y"]) for rows in outcomes(results).values() for row in rows)
    assert all(len(trace.x) <= charts.POINTS for trace in figure.data)
    assert [a.text for a in figure.layout.annotations] == [f"<b>{name}</b>" for name in synthetic.POLICIES]
