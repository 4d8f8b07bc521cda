"""The study runner: same results however it runs, resumable however it was stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from study_cells import HERE, cells, slow_cells

import rota
from rota.core.errors import InputError, Interrupted, RotaError
from rota.core.study import Cell, load, run_study

DRAW = f"{HERE}:draw"
FOLDER = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))


def stored(out):
    """Bytes of every finished cell, but for how long it took."""
    files = {path.name: json.loads(path.read_text()) for path in (out / "cells").glob("*.json")}
    return {name: json.dumps({**cell, "seconds": None}).encode() for name, cell in files.items()}


def test_processes_give_the_same_bytes_as_this_process(tmp_path):
    here = run_study("s", cells(), DRAW, out=tmp_path / "here", jobs=1)
    there = run_study("s", cells(), DRAW, out=tmp_path / "there", jobs=2)
    assert stored(tmp_path / "here") == stored(tmp_path / "there")
    assert len(stored(tmp_path / "here")) == 10
    assert [row.labels for row in there] == [cell.labels for cell in cells()] == [row.labels for row in here]
    assert there.rows[0].curves["cdf"]["x"] == sorted(there.rows[0].curves["cdf"]["x"])
    assert there.rows[0].metrics["count"] == 50.0


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_gives_the_same_bytes(tmp_path):
    pytest.importorskip("ray")
    run_study("s", cells(), DRAW, out=tmp_path / "here", jobs=1)
    run_study("s", cells(), DRAW, out=tmp_path / "ray", jobs=2, ray="local")
    assert stored(tmp_path / "here") == stored(tmp_path / "ray")


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_two_workers_is_reached_by_its_address(tmp_path):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        run_study("s", cells(), DRAW, out=tmp_path / "ray", ray=cluster.address)
        with pytest.raises(InputError, match="cell policy=x, seed=3: fleet"):
            run_study("f", failing("user"), f"{HERE}:fails", ray=cluster.address)
    finally:
        cluster.shutdown()
    run_study("s", cells(), DRAW, out=tmp_path / "here", jobs=1)
    assert stored(tmp_path / "here") == stored(tmp_path / "ray")


def test_finished_cells_are_not_run_again(tmp_path):
    marks = tmp_path / "marks"
    for _ in range(2):
        run_study("slow", slow_cells(marks, 0), f"{HERE}:slow", out=tmp_path / "out", jobs=1)
    assert sorted(marks.read_text().split()) == [str(seed) for seed in range(8)]


@pytest.mark.parametrize("damage", ["", "{", "null", '{"labels": {"seed": 5}}', "[]", "\x00\xff"])
def test_a_spoilt_cell_is_run_again(tmp_path, damage):
    marks = tmp_path / "marks"
    todo = slow_cells(marks, 0)
    whole = run_study("slow", todo, f"{HERE}:slow", out=tmp_path / "out", jobs=1)
    (tmp_path / "out" / "cells" / f"{todo[5].key}.json").write_text(damage, encoding="latin-1")
    (tmp_path / "out" / "cells" / f"{todo[6].key}.json").unlink()
    again = run_study("slow", todo, f"{HERE}:slow", out=tmp_path / "out", jobs=1)
    assert marks.read_text().split()[8:] == ["5", "6"]
    assert [row.metrics for row in again] == [row.metrics for row in whole]


def start_slow(tmp_path, seconds=0.4, jobs=2):
    """A study in its own process, once it has finished some cells."""
    command = [sys.executable, str(FOLDER / "study_script.py"), str(tmp_path / "out"), str(tmp_path / "marks")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*command, str(seconds), str(jobs)], start_new_session=True, **pipes)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out" / "cells").glob("*.json"))) < 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "the study does not get on"
        time.sleep(0.02)
    return process


def still_running(session):
    """Processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        found += [stat.parent.name] if int(of) == session and state != "Z" else []
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to look for processes left over")
def test_a_study_killed_outright_goes_on_where_it_stopped(tmp_path):
    process = start_slow(tmp_path)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while (left := still_running(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(int(pid), signal.SIGKILL)
    process.communicate()
    assert left == [], "workers outlive the study"
    done = {json.loads(path.read_text())["labels"]["seed"] for path in (tmp_path / "out" / "cells").glob("*.json")}
    assert 2 <= len(done) < 8
    (tmp_path / "marks").unlink()

    results = run_study("slow", slow_cells(tmp_path / "marks", 0.4), f"{HERE}:slow", out=tmp_path / "out", jobs=2)
    ran = [int(seed) for seed in (tmp_path / "marks").read_text().split()]
    assert sorted(ran) == sorted(set(range(8)) - done)
    assert [row.metrics["seed"] for row in results] == list(range(8))


def test_ctrl_c_stops_at_once_and_says_how_to_go_on(tmp_path):
    process = start_slow(tmp_path, seconds=3)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 2.5
    *_, last = errors.strip().splitlines()
    assert "rota.core.errors.Interrupted: stopped with" in last
    assert f"of 8 cells finished, kept in {tmp_path / 'out'}; the same command goes on from there" in last
    assert errors.count("Traceback") == 1, errors


def test_workers_leave_ctrl_c_to_the_study():
    def ask(jobs):
        return run_study("s", cells(), f"{HERE}:deaf", jobs=jobs).summary("deaf")[0].mean

    assert (ask(jobs=2), ask(jobs=1)) == (1.0, 0.0)


def test_ctrl_c_without_a_folder(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rota.core.workers.run_one", stop)
    with pytest.raises(Interrupted, match="0 of 10 cells finished, and not kept"):
        run_study("s", cells(), DRAW, jobs=1)


def test_a_script_needs_no_main_guard(tmp_path):
    command = [
        sys.executable,
        str(FOLDER / "study_script.py"),
        str(tmp_path / "out"),
        str(tmp_path / "marks"),
        "0",
        "2",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "finished\n"
    assert ended.stderr == "", "no progress bar where there is no terminal"


def failing(how):
    return [Cell({"policy": "x", "seed": seed}, {"seed": seed, "how": how}) for seed in range(6)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_cell_is_named_and_the_others_are_kept(tmp_path, jobs):
    with pytest.raises(InputError) as user:
        run_study("f", failing("user"), f"{HERE}:fails", out=tmp_path / "out", jobs=jobs)
    sentence = "cell policy=x, seed=3: fleet.toml:3: found 0 instances, expected at least 1"
    assert str(user.value) == sentence
    assert 0 < len(load(tmp_path / "out")) < 6


def test_a_defect_in_a_cell_is_raised_with_its_labels():
    with pytest.raises(ZeroDivisionError) as defect:
        run_study("f", failing("defect"), f"{HERE}:fails", jobs=1)
    assert defect.value.__notes__ == ["in cell policy=x, seed=3"]


def test_a_worker_that_dies_is_reported():
    with pytest.raises(RotaError, match="a worker process was killed"):
        run_study("f", failing("exit"), f"{HERE}:fails", jobs=2)


def test_the_manifest_pins_what_the_study_was(tmp_path):
    results = run_study("s", cells(), DRAW, out=tmp_path, jobs=1)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest == results.manifest
    assert manifest["study"] == "s"
    assert manifest["seeds"] == [0, 1, 2, 3, 4]
    assert manifest["versions"]["rota"] == rota.__version__
    assert {"python", "numpy", "numba"} <= manifest["versions"].keys()
    assert manifest["platform"]
    assert [cell["spec"] for cell in manifest["cells"]] == [cell.spec for cell in cells()]


def test_load_gives_the_results_back(tmp_path):
    whole = run_study("s", cells(), DRAW, out=tmp_path, jobs=1)
    again = load(tmp_path)
    assert [row.curves for row in again] == [row.curves for row in whole]
    assert again.summary("mean") == whole.summary("mean")


def test_another_study_in_the_folder_is_left_alone(tmp_path):
    run_study("s", cells(), DRAW, out=tmp_path, jobs=1)
    before = stored(tmp_path)
    with pytest.raises(InputError, match="another study"):
        run_study("s", cells(mean=(0.0, 4.0)), DRAW, out=tmp_path, jobs=1)
    assert stored(tmp_path) == before


def test_cells_of_other_versions_are_not_mixed(tmp_path):
    run_study("s", cells(), DRAW, out=tmp_path, jobs=1)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"rota": "{rota.__version__}"', '"rota": "0.0.1"'))
    assert len(run_study("s", cells(), DRAW, out=tmp_path, jobs=1)) == 10, "a finished study can still be read"
    next((tmp_path / "cells").glob("*.json")).unlink()
    with pytest.raises(InputError, match=r"cells made with rota 0\.0\.1"):
        run_study("s", cells(), DRAW, out=tmp_path, jobs=1)
    for path in (tmp_path / "cells").glob("*.json"):
        path.unlink()
    run_study("s", cells(), DRAW, out=tmp_path, jobs=1)
    assert f'"rota": "{rota.__version__}"' in manifest.read_text(), "nothing was finished, so the manifest is new"


@pytest.mark.parametrize("text", ["{", "[]", '{"study": "s"}', "3"])
def test_a_foreign_manifest_is_not_overwritten(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="the manifest of a study"):
        run_study("s", cells(), DRAW, out=tmp_path, jobs=1)
    assert (tmp_path / "manifest.json").read_text() == text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"jobs": 0}, "jobs: found 0"),
        ({"execute": "nowhere:function"}, "execute: found 'nowhere:function'"),
        ({"execute": f"{HERE}:nothing"}, "execute: found"),
        ({"execute": "noname"}, "execute: found"),
        ({"cells": cells() + cells()[:1]}, "two of cell policy=round-robin, seed=0"),
        ({"cells": [Cell({"seed": 0}, {"set": {1, 2}})]}, "cell seed=0: spec"),
    ],
)
def test_input_that_cannot_be_used(change, sentence):
    arguments = {"cells": cells(), "execute": DRAW, "jobs": 1, **change}
    with pytest.raises(InputError) as error:
        run_study("s", **arguments)
    assert sentence in str(error.value)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out: found not a directory"):
        run_study("s", cells(), DRAW, out=tmp_path / "file" / "out", jobs=1)


def test_load_of_a_folder_without_a_study(tmp_path):
    with pytest.raises(InputError, match="no manifest"):
        load(tmp_path)


def test_keys_depend_on_content_alone():
    a, b = Cell({"p": "x", "seed": 1}, {"m": 1, "n": [1.5]}), Cell({"seed": 1, "p": "x"}, {"n": [1.5], "m": 1})
    assert a.key == b.key
    assert Cell({"p": "x", "seed": 2}, a.spec).key != a.key != Cell(a.labels, {"m": 2, "n": [1.5]}).key


BROOD = """
from rota.core.study import Cell, run_study

def execute(spec):
    return {"metrics": {"x": 1.0}}

run_study("s", [Cell({"seed": s}, {}) for s in range(3)], "brood:execute", jobs=2)
"""


def test_a_module_that_starts_its_own_study_does_not_breed(tmp_path, monkeypatch):
    (tmp_path / "brood.py").write_text(BROOD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", "import brood"], capture_output=True, text=True, timeout=60)
    last = ended.stderr.strip().splitlines()[-1]
    assert "study: found a start within a worker, expected the start under `if __name__" in last


@pytest.mark.ray
@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "[::1]:{port}"])
def test_an_address_where_nobody_listens_is_refused(address):
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(InputError, match="the address of a cluster"):
        run_study("s", cells(), DRAW, ray=address.format(port=port))
