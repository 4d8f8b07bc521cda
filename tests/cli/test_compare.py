"""`rota compare` over a study module of its own, so that the command is tested and not the simulator."""

import json
import sys
import types

import pytest

from rota.cli import compare, main
from rota.core.store import Cell
from rota.core.timeline import Recorder

STUDY = 'name = "toy"\nbaseline = "slow"\n'


def execute(spec):
    value = spec["factor"] * (1 + 0.1 * spec["seed"])
    share = {"x": [0.1 * value, value], "y": [0.5, 1.0]}
    return {"metrics": {"ttft_mean": value, "e2e_mean": 2 * value}, "curves": {"ttft": share}}


def timeline(spec):
    recorder = Recorder()
    recorder.add("request 0", "instance-0", "decode", 0.0, spec["factor"])
    return recorder.freeze()


def cells(path):
    return "toy", [
        Cell({"workload": "w", "policies": name, "seed": seed}, {"factor": factor, "seed": seed})
        for name, factor in (("fast", 1.0), ("slow", 2.0))
        for seed in range(3)
    ]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study file, with this module as the one that knows such studies."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    toy = types.SimpleNamespace(cells=cells, timeline=timeline, default_study=lambda: path, __name__=__name__)
    monkeypatch.setitem(sys.modules, "rota.serving.study", toy)
    monkeypatch.setattr(compare, "_run", lambda name, todo, domain, **how: _here(name, todo, how))
    monkeypatch.chdir(tmp_path)
    return path


def _here(name, todo, how):
    from rota.core.results import Results, Row

    rows = [Row(cell.labels, **execute(cell.spec), seconds=0.0) for cell in todo]
    return Results(name, rows, {"study": name, "how": {k: str(v) for k, v in how.items()}})


def test_the_table_then_the_path_of_the_report(study, capsys):
    assert main(["compare", str(study)]) == 0
    shown = capsys.readouterr().out
    assert "slow (b)" in shown
    assert shown.rstrip().endswith(f"report: {study.parent / 'report.html'}")
    assert "fast, seed 0" in (study.parent / "report.html").read_text(encoding="utf-8")


def test_without_a_study_the_built_in_one_is_run(study, capsys):
    assert main(["compare", "--no-report"]) == 0
    assert "slow (b)" in capsys.readouterr().out
    assert not (study.parent / "report.html").exists()


def test_json_is_one_document(study, capsys):
    assert main(["compare", str(study), "--json", "--baseline", "fast", "--metrics", "e2e_mean"]) == 0
    shown = json.loads(capsys.readouterr().out)
    slow = next(row for row in shown["rows"] if row["labels"]["policies"] == "slow")
    assert slow["metrics"].keys() == {"e2e_mean"}
    assert slow["metrics"]["e2e_mean"]["mean"] == pytest.approx(4.4)
    assert slow["metrics"]["e2e_mean"]["difference"]["mean"] == pytest.approx(1.0)
    assert shown["report"].endswith("report.html")


def test_options_reach_the_study(study, capsys):
    assert main(["compare", str(study), "--out", "kept", "--jobs", "2", "--no-progress", "--gantt", "0"]) == 0
    text = (study.parent / "report.html").read_text(encoding="utf-8")
    assert "out kept, jobs 2, ray None, progress False" in text
    assert 'id="timeline"' not in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = ", "TOML"),
        ('domain = "servin"', "did you mean serving"),
        ("baseline = 3", "baseline: found 3"),
    ],
)
def test_a_spoilt_study_is_one_sentence(study, capsys, text, sentence):
    study.write_text(text)
    assert main(["compare", str(study)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--metrics", "nope", "metric: found nope"),
        ("--baseline", "nope", "baseline: found nope"),
        ("--gantt", "-1", "--gantt: found -1"),
        ("--report", "nowhere/r.html", "nowhere/r.html: found no such file"),
    ],
)
def test_a_wrong_option_is_one_sentence(study, capsys, option, value, sentence):
    assert main(["compare", str(study), option, value]) == 2
    assert sentence in capsys.readouterr().err
