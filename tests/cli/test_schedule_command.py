"""`rota schedule` as a user types it."""

import csv
import io
import json

import numpy as np
import pytest

from rota.cli import main
from rota.cli.schedule import HEIGHT, WIDTH, picture
from rota.training import Schedule, constant, linear, rex, schedule, warmup
from rota.training.norm_file import write_rows


@pytest.fixture
def record(tmp_path):
    """Norms that double over a run of 50 steps."""
    path = tmp_path / "norms.bin"
    rows = [(step, 30.0 * (1 + step / 50), 3.0 * (1 + step / 50), 0.1) for step in range(50)]
    write_rows(path, 50, 1, rows)
    return path


def test_show(capsys):
    assert main(["schedule", "show", "rex", "--total", "100"]) == 0
    shown = capsys.readouterr().out
    assert "rex() over 100 steps" in shown
    assert "0.666667" in shown
    assert "█" in shown


def test_show_as_json(capsys):
    assert main(["schedule", "show", "warmup(10) >> rex()", "--total", "100", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert schedule(found["schedule"]) == (warmup(10) >> rex())
    assert found["total"] == 100
    assert found["factors"] == [(warmup(10) >> rex())(step, 100) for step in range(0, 101, 10)]
    assert found["mean"] == pytest.approx((warmup(10) >> rex()).table(100).mean())


def test_a_picture_is_a_page_of_its_own(tmp_path, capsys):
    pytest.importorskip("plotly")
    page = tmp_path / "page.html"
    assert main(["schedule", "show", "rex(0.9)", "--report", str(page)]) == 0
    assert f"written: {page}" in capsys.readouterr().out
    assert "rex(0.9)" in page.read_text()
    assert 'src="http' not in page.read_text()


def test_the_terminal_shows_the_shape():
    lines = picture(linear(), 100).splitlines()
    assert len(lines) == HEIGHT
    bars = [line[9:] for line in lines]
    assert [len(bar) for bar in bars] == sorted(len(bar) for bar in bars)  # a fall: every line down reaches further
    assert lines[0].split()[0] == "1"
    assert lines[-1].split()[0] == "0"
    assert [line[9:] for line in picture(constant(0.5), 10).splitlines()] == ["█" * WIDTH] * HEIGHT
    assert [line[9:] for line in picture(constant(0.0), 10).splitlines()] == [""] * HEIGHT
    assert picture(constant(-2.0), 10).splitlines()[-1].split() == ["-2"]


def test_compare(tmp_path, capsys):
    pytest.importorskip("plotly")
    page = tmp_path / "all.html"
    assert main(["schedule", "compare", "rex", "linear", "cosine", "--total", "200", "--report", str(page)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("rex()", "linear()", "cosine()", "mean", "0.947368", "100 %"))
    assert all(name in page.read_text() for name in ("rex()", "linear()", "cosine()"))
    assert main(["schedule", "compare", "rex", "linear", "--total", "200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["schedule"] for row in found["schedules"]] == ["rex()", "linear()"]
    assert found["schedules"][1]["factors"] == pytest.approx(np.linspace(1, 0, 11))
    assert list(tmp_path.iterdir()) == [page]


def test_export_as_csv(tmp_path, capsys):
    assert main(["schedule", "export", "rex", "--total", "30"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [int(row["step"]) for row in rows] == list(range(30))
    assert [float(row["factor"]) for row in rows] == rex().table(30).tolist()
    out = tmp_path / "lr.csv"
    assert main(["schedule", "export", "rex", "--total", "30", "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 31


def test_what_export_writes_is_read_back(tmp_path, capsys):
    out = tmp_path / "lr.json"
    one = warmup(0.1) >> rex().floor(0.05)
    assert main(["schedule", "export", repr(one), "--total", "30", "--to", "json", "--out", str(out)]) == 0
    assert Schedule.from_json(out.read_text()) == one
    assert json.loads(out.read_text())["factors"] == one.table(30).tolist()
    capsys.readouterr()
    assert main(["schedule", "show", str(out), "--json"]) == 0
    assert schedule(json.loads(capsys.readouterr().out)["schedule"]) == one


def test_refine(record, tmp_path, capsys):
    out = tmp_path / "refined.json"
    assert (
        main(["schedule", "refine", str(record), "--total", "50", "--smoothing", "0", "--out", str(out), "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == 50
    assert max(found["factors"]) == 1.0
    assert found["factors"][-1] == 0.0
    refined = Schedule.from_json(out.read_text())
    assert repr(refined) == found["schedule"]
    # norms that grow: the weights fall, and so the factors fall faster than along a line
    assert refined(25, 50) < linear()(25, 50)
    assert main(["schedule", "refine", str(record), "--power", "1"]) == 0
    assert "refined from 50 norms, nearest: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "rexx"], "schedule: found rexx, expected one of"),
        (["show", "rex", "--total", "0"], "total: found 0, expected a number of steps > 0"),
        (["show", "rex", "--total", "1000000000000"], "total: found 1000000000000, expected at most 100000000"),
        (["show", "warmup(2000) >> rex()", "--total", "100"], "sequence: found parts of 2000 steps"),
        (["show", "nowhere.json"], "nowhere.json: No such file"),
        (["compare", "rex"], "schedules: found 1, expected two or more"),
        (["export", "rex", "--out", "/nowhere/lr.csv"], "/nowhere/lr.csv: found"),
        (["export", "rex", "--to", "xml"], "xml"),
        (["refine", "{record}", "--total", "60"], "found the record of a run of 50 steps, expected one of 60 steps"),
        (["refine", "{record}", "--power", "3"], "power"),
        (["refine", "nowhere.bin"], "nowhere.bin"),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence, record, capsys):
    assert main(["schedule", *(word.replace("{record}", str(record)) for word in words)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("rota: ")
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
