"""`rota workload` as a user types it."""

import json

import pytest

from rota.cli import main
from rota.serving.workloads import read, write
from rota.serving.workloads.llumnix import llumnix


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.jsonl"
    write(llumnix("S-S", rate=20.0, n=400, seed=1), path)
    return str(path)


def test_describe(trace, capsys):
    assert main(["workload", "describe", trace, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["arrivals"]["requests"] == 400
    assert found["format"] == "jsonl"
    assert found["arrivals"]["rate"] == pytest.approx(20, rel=0.2)
    assert main(["workload", "describe", trace]) == 0
    assert "peak_minute_rate" in capsys.readouterr().out


def test_describe_draws_a_picture_without_network(trace, tmp_path):
    pytest.importorskip("plotly")
    page = tmp_path / "page.html"
    assert main(["workload", "describe", trace, "--plot", str(page)]) == 0
    text = page.read_text()
    assert "requests a second" in text
    assert 'src="http' not in text


def test_fit_then_generate_then_convert(trace, tmp_path, capsys):
    model, more, table = (str(tmp_path / name) for name in ("m.json", "more.parquet", "more.csv"))
    assert main(["workload", "fit", trace, "--out", model, "--seeds", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ks_prompt"] < 0.15
    assert main(["workload", "generate", model, "--n", "50", "--out", more]) == 0
    assert main(["workload", "convert", more, table]) == 0
    assert len(read(table)) == 50
    assert "50 requests" in capsys.readouterr().out


def test_generate_by_name(tmp_path, capsys):
    out = str(tmp_path / "w.jsonl")
    assert (
        main(["workload", "generate", "azure-2023-code(n=9)", "--n", "30", "--seed", "3", "--out", out, "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["arrivals"]["requests"] == 30
    assert len(read(out)) == 30


def test_lists(capsys):
    assert main(["workload", "names"]) == 0
    assert "azure-2023-conv" in capsys.readouterr().out.split()
    assert main(["workload", "fetch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["burstgpt-1"]["licence"] == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["describe", "nope"], "expected one of"),
        (["describe", "none.csv"], "no such file"),
        (["generate", "llumnix(rat=3)"], "did you mean rate"),
        (["generate", "poisson(n=5)", "--out", "x.txt"], "suffix"),
        (["fit", "poisson(n=50)", "--seeds", "0"], "--seeds: found 0"),
        (["fetch", "azure"], "azure-2023-conv"),
    ],
)
def test_mistakes_are_one_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["workload", *arguments]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
