"""A study that is stopped, killed or repeated: finished cells are kept, and the outcome is the same."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rota.cli import main

CELLS = 12
STUDY = """
name = "stoppable"
seeds = 6
[[workload]]
name = "L-L"
use = "llumnix(trace='L-L', rate=3.0, n=2000)"
[[fleet]]
instances = "16 x llama-7b/a10"
[[policies]]
dispatch = "least-load"
[[policies]]
dispatch = "freeness"
reschedule = "llumnix"
"""
SMALL = STUDY.replace("n=2000", "n=300").replace("seeds = 6", "seeds = 3")


def command(*more):
    return [sys.executable, "-m", "rota", "compare", "study.toml", "--no-report", "--json", *more]


def start(folder, *more):
    """`rota compare` with results kept in `kept`, in its own process group, seen up to its first finished cells."""
    process = subprocess.Popen(
        command("--out", "kept", "--jobs", "1", *more), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while len(finished(folder)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()[1]
    return process


def finished(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "kept" / "cells").glob("*.json")}


def outcome(text):
    return json.loads(text)["rows"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def test_a_killed_study_goes_on_and_ends_the_same(folder):
    process = start(folder)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = finished(folder)
    assert 2 <= len(before) < CELLS, "killed in the middle"
    again = subprocess.run(
        command("--out", "kept", "--jobs", "1"), cwd=folder, capture_output=True, text=True, check=True
    )
    after = finished(folder)
    assert len(after) == CELLS
    assert {name: after[name] for name in before} == before, "finished cells are not run again"
    whole = subprocess.run(command("--jobs", "2"), cwd=folder, capture_output=True, text=True, check=True)
    assert outcome(again.stdout) == outcome(whole.stdout)


def test_ctrl_c_says_how_to_go_on(folder):
    process = start(folder)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("rota: stopped with ")
    assert f"of {CELLS} cells finished" in err
    assert err.endswith("the same command goes on from there\n")
    assert not list(folder.rglob("*.tmp")), "nothing half-written"


def test_the_report_is_the_old_one_until_it_is_the_new_one(folder, monkeypatch, capsys):
    pytest.importorskip("plotly")
    (folder / "study.toml").write_text(SMALL)
    (folder / "report.html").write_text("the old one")
    monkeypatch.chdir(folder)
    real = os.replace

    def stopped(source, target):
        if str(target).endswith("report.html"):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    arguments = ["compare", "study.toml", "--jobs", "1", "--gantt", "1", "--out", "kept"]
    assert main(arguments) == 130
    assert (folder / "report.html").read_text() == "the old one"
    assert not list(folder.rglob("*.tmp"))
    monkeypatch.setattr(os, "replace", real)
    assert main(arguments) == 0
    new = (folder / "report.html").read_text()
    assert new.lstrip().lower().startswith("<!doctype html>")
    assert new.rstrip().endswith("</html>")
    capsys.readouterr()


def test_the_same_study_gives_the_same_json_with_any_number_of_processes(folder, monkeypatch, capsys):
    (folder / "study.toml").write_text(SMALL)
    monkeypatch.chdir(folder)
    texts = []
    for jobs in ("1", "1", "2"):
        assert main(["compare", "study.toml", "--no-report", "--json", "--jobs", jobs]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]
