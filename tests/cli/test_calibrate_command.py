from __future__ import annotations

import json

import numpy as np
import pytest

from rota.cli import main
from rota.serving.instance_file import load_instance
from rota.serving.presets import preset

pytest.importorskip("scipy")


@pytest.fixture
def log(tmp_path):
    """A step log of an A100, without noise."""
    rng, cost = np.random.default_rng(0), preset("llama-3-8b/a100").cost
    path = tmp_path / "steps.csv"
    lines = ["decoding,kv_tokens,prefill_tokens,seconds"]
    for _ in range(200):
        decoding, prompt = int(rng.integers(1, 200)), int(rng.integers(0, 2) * rng.integers(1, 4000))
        seconds = cost.step(decoding, 700 * decoding, [(prompt, 0)] if prompt else [])
        lines.append(f"{decoding},{700 * decoding},{prompt},{seconds}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_it_writes_an_instance_that_predicts_the_log(log, tmp_path, capsys):
    out, picture = tmp_path / "a100.toml", tmp_path / "fit.html"
    assert main(["calibrate", str(log), "--base", "llama-3-8b/h100", "--out", str(out), "--picture", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "error on rows not used for" in shown
    cost, true = load_instance(out).cost, preset("llama-3-8b/a100").cost
    assert cost.step(64, 64 * 700, [(1000, 0)]) == pytest.approx(true.step(64, 64 * 700, [(1000, 0)]), rel=0.01)
    assert "heldout_step" in out.read_text()
    assert "plotly" in picture.read_text()


def test_json_holds_coefficients_and_errors(log, capsys):
    assert main(["calibrate", str(log), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["heldout"]["step"]["median"] < 0.01
    assert told["fitted_rows"] == 140
    assert told["instance"]["cost"]["decode_base"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.csv"], "none.csv"),
        (["LOG", "--base", "llama-3-8b/h10"], "did you mean llama-3-8b/h100"),
        (["LOG", "--holdout", "2"], "holdout"),
        (["LOG", "--picture", "fit.png"], "--picture"),
        (["LOG", "--out", "no/such/folder/x.toml"], "no/such/folder"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(arguments, sentence, log, capsys, monkeypatch):
    monkeypatch.chdir(log.parent)
    assert main(["calibrate", *(str(log) if a == "LOG" else a for a in arguments)]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
