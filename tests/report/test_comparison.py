import json
import math

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rota.core.errors import UnknownName
from rota.core.results import Results, Row
from rota.core.stats import student_quantile
from rota.report import metrics, table
from rota.report.comparison import compare


def study(values, **labels):
    """Results of one group: `values` is {choice: [value of seed 0, 1, ...]}."""
    rows = [
        Row({**labels, "policies": choice, "seed": seed}, {"ttft_mean": value, "output_tps": value}, {}, 0.0)
        for choice, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    return Results("s", rows)


def test_means_intervals_and_paired_differences_by_hand():
    compared = compare(study({"a": [10.0, 20.0, 30.0], "b": [9.0, 18.0, 27.0]}))
    a, b = (row.figures["ttft_mean"] for row in compared.rows)
    assert (a.mean, a.n) == (20, 3)
    assert a.high - a.mean == pytest.approx(student_quantile(0.975, 2) * 10 / math.sqrt(3))
    assert a.difference is None
    assert b.difference.mean == pytest.approx(-0.1)
    half = student_quantile(0.975, 2) * 1.0 / math.sqrt(3) / 20  # the differences are -1, -2, -3
    assert b.difference.high == pytest.approx(-0.1 + half)
    assert not b.difference.clear
    assert [row.is_baseline for row in compared.rows] == [True, False]


def test_the_better_way_depends_on_the_metric():
    first, second = compare(study({"a": [1.0], "b": [2.0]})).rows
    assert first.figures["ttft_mean"].best
    assert not second.figures["ttft_mean"].best
    assert second.figures["output_tps"].best


def test_equal_rows_have_no_best():
    assert not any(row.figures["ttft_mean"].best for row in compare(study({"a": [1.0], "b": [1.0]})).rows)


def test_only_shared_seeds_are_paired():
    results = study({"a": [1.0, 1.0, 1.0], "b": [2.0, 3.0, math.nan]})
    assert compare(results).rows[1].figures["ttft_mean"].difference.mean == pytest.approx(1.5)


def test_a_baseline_of_zero_gives_no_share():
    assert compare(study({"a": [0.0, 0.0], "b": [1.0, 2.0]})).rows[1].figures["ttft_mean"].difference is None


@given(st.lists(st.floats(0.01, 1e6), min_size=2, max_size=6), st.floats(0.5, 2))
@settings(deadline=None, max_examples=50)
def test_scaling_every_seed_by_a_factor_is_that_share(values, factor):
    found = compare(study({"a": values, "b": [factor * v for v in values]})).rows[1].figures["ttft_mean"].difference
    assert found.mean == pytest.approx(factor - 1, abs=1e-9)


def test_baseline_by_part_of_its_name(results):
    compared = compare(results, baseline="least")
    assert {row.choice for row in compared.rows if row.is_baseline} == {"least-load"}


@pytest.mark.parametrize("wanted", ["r", "nothing"])
def test_a_baseline_that_is_unclear_is_an_error(results, wanted):
    with pytest.raises(UnknownName, match="baseline"):
        compare(results, baseline=wanted)


def test_an_unknown_metric_offers_the_nearest(results):
    with pytest.raises(UnknownName, match="did you mean ttft_p99"):
        compare(results, ["ttft_p98"])


def test_json_has_no_nan(results):
    text = json.dumps(compare(results, ["migrations", "ttft_mean"]).to_dict(), allow_nan=False)
    assert json.loads(text)[0]["metrics"]["migrations"]["mean"] is None


def test_results_of_one_seed_and_of_no_row():
    assert math.isinf(compare(study({"a": [1.0]})).rows[0].figures["ttft_mean"].low)
    assert compare(Results("empty", [])).rows == ()


def shown(rendered, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(rendered)
    return console.export_text()


def test_the_terminal_table_shows_names_as_they_are(results):
    text = shown(table.comparison(results, ["ttft_mean"]))
    assert "round-robin (b)" in text
    assert "0.224 ±0.011 *" in text
    assert "<img" in text


def test_markup_in_names_is_not_markup():
    assert "[red]x[/red]" in shown(table.comparison(study({"[red]x[/red]": [1.0]}, workload="[b]w")))


def test_labels_that_never_change_are_the_title(results):
    text = shown(table.comparison(study({"a": [1.0], "b": [2.0]}, workload="burst", fleet="f")))
    assert text.startswith("workload burst, fleet f")


@pytest.mark.parametrize(("width", "metrics"), [(80, 3), (100, 4), (140, 6)])
def test_metrics_that_do_not_fit_the_terminal_are_named(width, metrics):
    results = synthetic.results({"round-robin": 1.0, "Llumnix (freeness, migration)": 0.002}, seeds=3, n=200)
    lines = shown(table.render(compare(results), width), width).splitlines()
    assert all(line.endswith(("│", "┤", "┩", "┃", "┓", "┘")) for line in lines if line[0] in "│├┡┃┏└")
    assert lines[0].count("┳") == metrics
    assert ("want of room" in " ".join(lines)) == (metrics < 6)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (1234.5, "1,234"),
        (0, "0"),
        (math.nan, "–"),
        (-0.0512, "-0.0512"),
        (3e-6, "3.00e-06"),
        (9_876_543, "9,876,543"),
        (12_345_678, "12.3 M"),
        (-144_627_990_528, "-145 G"),
        (11.7e12, "11.7 T"),
        (5.5e15, "5,500 T"),
    ],
)
def test_numbers(value, text):
    assert metrics.number(value) == text


def test_an_interval_is_rounded_like_its_mean():
    assert metrics.number(0.0214, like=0.448) == "0.021"
    assert metrics.number(3e6, like=4.5e7) == "3.0 M"


def test_metric_names_are_read():
    assert metrics.describe("ttft_p999").title == "time to first token, P99.9 (s)"
    assert metrics.describe("preemption_loss_mean").better == "lower"
    assert metrics.describe("output_tps").better == "higher"
    assert metrics.describe("my_own").title == "my own"


def test_percent():
    assert [metrics.percent(x) for x in (-0.5, 0.1, 13.0)] == ["−50 %", "+10 %", "×14"]
    assert np.isnan(compare(study({"a": [math.nan]})).rows[0].figures["ttft_mean"].mean)
