"""`rota simulate`: one run of any kind, its figures, and the files asked for."""

from __future__ import annotations

import json

import pytest

from rota.cli import main

CHAT = "sessions(n=12, rate=1.0, think=5.0)"


@pytest.mark.parametrize(
    ("arguments", "metric", "policies"),
    [
        (
            ["poisson(n=40, rate=4)", "--fleet", "2 x llama-3-8b/h100", "--dispatch", "freeness"],
            "ttft_p99",
            {"dispatch": "freeness"},
        ),
        (
            [CHAT, "--fleet", "llama-3-8b/a10(blocks=1200)", "--swap", "reuse", "--check"],
            "stall_share",
            {"swap": "reuse"},
        ),
        (
            ["offline(batch=8, output=64)", "--fleet", "opt-13b/v100-32gb", "--residency", "static-split", "--check"],
            "throughput_tps",
            {"residency": "static-split"},
        ),
    ],
)
def test_every_kind_of_run_tells_its_figures(capsys, arguments, metric, policies):
    assert main(["simulate", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metrics"][metric] >= 0
    assert policies.items() <= told["policies"].items()
    assert main(["simulate", *arguments]) == 0
    assert f"{told['metrics'][metric]:.5g}" in capsys.readouterr().out


def test_the_files_asked_for_are_written_whole_and_named(capsys, tmp_path):
    files = [tmp_path / name for name in ("run.json", "run.parquet", "run.html")]
    options = [
        word
        for flag, path in zip(("--perfetto", "--parquet", "--report"), files, strict=True)
        for word in (flag, str(path))
    ]
    assert main(["simulate", "poisson(n=20, rate=4)", *options]) == 0
    out = capsys.readouterr().out.replace("\n", "")
    assert all(path.stat().st_size > 100 and str(path) in out for path in files)
    assert json.loads(files[0].read_text())["traceEvents"]


def test_policies_that_do_not_go_together_are_refused(capsys):
    assert main(["simulate", CHAT, "--swap", "reuse", "--dispatch", "random"]) == 2
    assert "kinds that go together" in capsys.readouterr().err
