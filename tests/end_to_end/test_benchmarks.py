from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROW = {"question", "against", "value", "unit", "goal", "met", "detail"}


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, BENCHMARKS / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("name", ["fleet_speed.py", "fleet_accuracy.py", "fit_presets.py"])
def test_every_benchmark_says_what_it_does(name):
    assert run(name, "--help").startswith("usage:")


def test_speed_prints_rows_without_its_peer():
    told = json.loads(run("fleet_speed.py", "--json", "--no-peer", "--scale", "0.002"))
    assert told["machine"]
    assert all(set(row) == ROW for row in told["rows"])
    assert any("growth" in row["question"] for row in told["rows"])
    against_peer = [row for row in told["rows"] if "Dynamo" in row["against"]]
    assert against_peer
    assert all(row["value"] is None and row["detail"] for row in against_peer)


def test_accuracy_judges_a_small_table(tmp_path):
    pytest.importorskip("scipy")
    columns = "mode,precision,model_path,system,tp_size,backend,isl,osl,batch_size,silicon_ttft_ms,silicon_tpot_ms"
    lines = [
        f"agg,,meta-llama/Llama-3.1-8B-Instruct,h100_sxm,1,vllm,{isl},{osl},{clients},{0.03 * isl * clients**0.5},{7 + 0.05 * clients}"
        for isl, osl, clients in np.array(np.meshgrid([256, 512], [16], [1, 2, 4])).reshape(3, -1).T
    ]
    (tmp_path / "table.csv").write_text("\n".join([columns, *lines]) + "\n")
    told = json.loads(run("fleet_accuracy.py", str(tmp_path / "table.csv"), "--json"))
    assert all(set(row) == ROW for row in told["rows"])
    assert {row["unit"] for row in told["rows"]} == {"%"}
    assert any("TPOT, calibrated" in row["question"] for row in told["rows"])


def test_accuracy_says_so_where_there_is_no_table(tmp_path):
    told = json.loads(run("fleet_accuracy.py", str(tmp_path / "none.csv"), "--json"))
    assert told["rows"][0]["value"] is None
    assert "none.csv" in told["rows"][0]["detail"]
