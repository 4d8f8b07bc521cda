"""Results: summaries over seeds, comparisons paired by seed, exports."""

import csv
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console
from study_cells import HERE, cells

from rota.core import stats
from rota.core.errors import InputError, UnknownName
from rota.core.results import Results, Row
from rota.core.study import run_study

TTFT = {
    ("chat", "round-robin"): [4.0, 5.0, 9.0],
    ("chat", "freeness"): [3.0, 4.5, 8.0],
    ("code", "round-robin"): [1.0, 1.0, 1.0],
    ("code", "freeness"): [2.0, math.nan, 3.0],
}


@pytest.fixture
def results():
    rows = [
        Row({"workload": w, "policy": p, "seed": s}, {"ttft": v, "goodput": 1.0}, {"cdf": {"x": [v], "y": [1.0]}}, 0.5)
        for (w, p), values in TTFT.items()
        for s, v in enumerate(values)
    ]
    return Results("study", rows, {"versions": {"rota": "1"}})


def test_summary_is_over_seeds(results):
    summary = results.summary("ttft")
    assert [s.labels for s in summary] == [{"workload": w, "policy": p} for w, p in TTFT]
    assert summary[0][1:] == stats.mean_interval([4.0, 5.0, 9.0])
    assert (summary[3].mean, summary[3].n) == (2.5, 2)
    assert (summary[2].low, summary[2].high) == (1.0, 1.0)
    assert results.metrics == ["ttft", "goodput"]
    with pytest.raises(UnknownName, match="did you mean ttft"):
        results.summary("tfft")


def test_compare_pairs_equal_seeds(results):
    chat, code = results.compare("ttft", {"policy": "round-robin"})
    assert chat.labels == {"workload": "chat", "policy": "freeness"}
    expected = stats.mean_interval([-1.0, -0.5, -1.0])
    assert (chat.difference, chat.low, chat.high, chat.n) == pytest.approx(expected)
    assert chat.ratio == pytest.approx(15.5 / 18)
    assert chat.ratio_low <= chat.ratio <= chat.ratio_high < 1
    assert (code.difference, code.ratio, code.n) == (1.5, 2.5, 2)


def test_compare_across_workloads(results):
    found = results.compare("ttft", {"workload": "chat"})
    assert [c.labels for c in found] == [{"workload": "code", "policy": p} for p in ("round-robin", "freeness")]


def test_compare_with_labels_that_no_row_carries(results):
    for baseline in ({"policy": "fastest"}, {"colour": "red"}):
        with pytest.raises(InputError, match="baseline"):
            results.compare("ttft", baseline)


def test_rows_without_seeds_are_one_observation():
    results = Results("s", [Row({"policy": p}, {"x": v}, {}, 0.0) for p, v in (("a", 1.0), ("b", 3.0))])
    assert [s.n for s in results.summary("x")] == [1, 1]
    assert results.compare("x", {"policy": "a"})[0].difference == 2.0


def test_csv(results, tmp_path):
    results.to_csv(tmp_path / "r.csv")
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert list(rows[0]) == ["workload", "policy", "seed", "ttft", "goodput", "seconds"]
    assert rows[0]["ttft"] == "4.0"
    assert [row["ttft"] for row in rows].count("") == 1


def test_json_is_strict_and_whole(results, tmp_path):
    results.to_json(tmp_path / "r.json")
    whole = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert whole["study"] == "study"
    assert whole["manifest"] == {"versions": {"rota": "1"}}
    assert len(whole["rows"]) == 12
    assert whole["rows"][0] == {
        "labels": {"workload": "chat", "policy": "round-robin", "seed": 0},
        "metrics": {"ttft": 4.0, "goodput": 1.0},
        "curves": {"cdf": {"x": [4.0], "y": [1.0]}},
        "seconds": 0.5,
    }
    assert whole["rows"][10]["metrics"]["ttft"] is None


def test_data_frame_and_parquet(results, tmp_path):
    pl = pytest.importorskip("polars")
    frame = results.to_polars()
    assert frame.columns == ["workload", "policy", "seed", "ttft", "goodput", "seconds"]
    assert frame.filter(pl.col("policy") == "freeness")["ttft"].to_list()[:3] == [3.0, 4.5, 8.0]
    results.to_parquet(tmp_path / "r.parquet")
    assert pl.read_parquet(tmp_path / "r.parquet").shape == (12, 6)


def test_rows_with_other_labels_and_metrics_share_columns(tmp_path):
    results = Results("s", [Row({"a": 1}, {"x": 1.0}, {}, 0.0), Row({"b": "z"}, {"y": 2.0}, {}, 0.0)])
    first, second = results.to_dicts()
    assert list(first) == list(second) == ["a", "b", "x", "y", "seconds"]
    assert first["b"] is None
    assert math.isnan(second["x"])
    results.to_csv(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text().splitlines()[1:] == ["1,,1.0,,0.0", ",z,,2.0,0.0"]


def test_html_is_a_table_of_metrics_by_combination(results):
    html = Results("<s>", results.rows)._repr_html_()
    assert html.startswith("<b>&lt;s&gt;</b><table><tr><th></th><th>chat, round-robin</th>")
    assert f"<td>ttft</td><td>6 ± {stats.mean_interval([4, 5, 9]).high - 6:.2g}</td>" in html


def test_a_table_for_the_terminal(results):
    console = Console(width=120, file=io.StringIO())
    console.print(results)
    assert "freeness" in console.file.getvalue()


def test_a_study_tells_a_difference_from_none():
    results = run_study("s", cells(mean=(0.0, 1.0), seeds=6), f"{HERE}:draw", jobs=1)
    (found,) = results.compare("mean", {"policy": "round-robin"})
    assert found.high - found.low < 1e-9
    assert found.n == 6
    assert found.difference == pytest.approx(1.0), "equal seeds draw equal noise, so that it cancels"
    assert np.isnan([s.mean for s in results.summary("worst")]).all()
