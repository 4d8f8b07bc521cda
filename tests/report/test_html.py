import json
import re

import pytest
import synthetic

from rota.core.errors import InputError, MissingExtra, UnknownName
from rota.core.results import Results
from rota.report import html


@pytest.fixture(scope="module")
def text(results):
    runs = {"run one": synthetic.timeline(50), synthetic.EVIL: synthetic.timeline(40)}
    compared = html.compare(results)
    return html.page(results, runs, compared)


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_names_are_escaped(text):
    assert "<b>up</b>" not in text
    assert "<img src=x" not in text
    assert "made &lt;b&gt;up&lt;/b&gt;" in text


def test_the_scripts_end_where_they_should(text):
    assert text.count("<script") == text.count("</script>") == 3


def test_no_policy_lets_anything_in(text):
    assert "default-src 'none'" in text
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", text)


def test_every_group_has_its_charts(text):
    groups = data_of(text)["groups"]
    assert list(groups) == ["burst · 16 x llama-7b/a10", f"steady · {synthetic.EVIL}"]
    for figures in groups.values():
        assert {"metric-ttft_mean", "ttft", "tpot", "e2e", "load", "running", "waiting"} <= figures.keys()
        assert all(figure["data"] for figure in figures.values())


def test_a_long_run_gets_a_second_picture_of_its_busiest_moment(results):
    runs = data_of(html.page(results, {"long": synthetic.timeline(20_000)}, html.compare(results)))["runs"]
    assert [label.partition(",")[0] for label in runs] == ["long", "long: busiest moment"]


def test_the_table_has_values_to_sort_by(text):
    cells = re.findall(r'<td class="number" data-value="([^"]*)">', text)
    assert len(cells) == 6 * 6
    assert all(float(cell) >= 0 for cell in cells)


def test_a_study_without_curves_runs_or_rows_is_still_a_page(results):
    bare = Results("bare", [row.__class__(row.labels, row.metrics, {}, 0.0) for row in results.rows])
    assert 'id="latency"' not in html.page(bare, {}, html.compare(bare))
    empty = Results("empty", [])
    assert "What was run" in html.page(empty, {}, html.compare(empty))


def test_the_file_appears_whole_or_not_at_all(results, tmp_path):
    target = tmp_path / "r.html"
    target.write_text("old")
    with pytest.raises(UnknownName):
        html.write(results, target, metrics=["nothing"])
    assert target.read_text() == "old"
    assert html.write(results, target) == target
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_one_sentence(results, tmp_path):
    with pytest.raises(InputError, match="no such file or directory"):
        html.write(results, tmp_path / "nowhere" / "r.html")


def test_without_plotly_the_extra_is_named(results, monkeypatch):
    def absent(module):
        raise ModuleNotFoundError(f"No module named {module!r}", name="plotly")

    monkeypatch.setattr("rota.core.errors.importlib.import_module", absent)
    with pytest.raises(MissingExtra, match=r"rota\[report\]"):
        html.write(results, "never.html")
