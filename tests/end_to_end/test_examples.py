"""Every example runs as a reader would run it, at a small size, and says what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rota.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = {
    "compare_dispatch": ("40", r"session-affin"),
    "plan_capacity": ("60", r"8 requests/s +\S+ \d"),
    "own_policy": ("200", r"FullestThatFits +ttft p99 +[\d.]+ s"),
    "replay_log": ("60", r"freeness +agrees with freeness in 60 of 60"),
    "workflow": ("30", r"4 instances: a task takes [\d.]+ s"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, tmp_path):
    size, expected = PROGRAMS[name]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", size], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(expected, done.stdout), done.stdout


@pytest.mark.parametrize("study", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_study(study, tmp_path, monkeypatch, capsys):
    small = re.sub(r"n=\d+", "n=60", study.read_text(encoding="utf-8")).replace("seeds = 5", "seeds = 2")
    (tmp_path / study.name).write_text(small, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", study.name, "--no-progress", "--report", "report.html"]) == 0
    assert "ttft" in capsys.readouterr().out
    assert Path("report.html").stat().st_size > 100_000


def test_every_example_is_run_and_listed():
    programs = {path.stem for path in EXAMPLES.glob("*.py")}
    assert programs == set(PROGRAMS)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in listed for path in EXAMPLES.iterdir() if path.suffix in (".py", ".toml"))
