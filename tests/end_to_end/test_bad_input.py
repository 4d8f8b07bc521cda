"""A user's mistake gives one sentence on stderr and exit status 2: no traceback, nothing half-written."""

import subprocess
import sys

import pytest

from rota.cli import main

HEAD = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
GOOD = HEAD + "".join(f"{i},{100 + i},{20 + i % 3}\n" for i in range(30))

STUDY = """
name = "small"
seeds = 2
[[workload]]
name = "few"
use = "poisson(n=5)"
[[fleet]]
instances = "1 x llama-7b/a10"
[[policies]]
dispatch = "round-robin"
"""

TRACES = {
    "truncated.csv": (HEAD + "0,100,20\n1,10", "truncated.csv:3", "num_decode_tokens"),
    "columns.csv": ("when,in,out\n0,1,2\n", "columns.csv:1", "when, in, out"),
    "nan.csv": (HEAD + "0,10,10\nnan,10,10\n", "nan.csv:3: arrived_at", "'nan'"),
    "nan_length.csv": (HEAD + "0,10,10\n1,NaN,10\n", "nan_length.csv:3: num_prefill_tokens", "'NaN'"),
    "negative.csv": (HEAD + "0,10,10\n1,-10,10\n", "negative.csv:3: num_prefill_tokens", "'-10'"),
    "astronomic.csv": (HEAD + "0,10,99999999999999999999999\n", "astronomic.csv:2: num_decode_tokens", "whole number"),
    "order.csv": (HEAD + "5,10,10\n1,10,10\n", "order.csv:3: arrived_at", "ascending"),
    "empty.csv": ("", "empty.csv", "found"),
    "header_only.csv": (HEAD, "header_only.csv", "found"),
    "binary.csv": (bytes(range(256)), "binary.csv", "found"),
    "broken.jsonl": (
        '{"timestamp": 0, "input_length": 9, "output_length": 3, "hash_ids": [1]}\n{"timestamp": 1, "inp\n', "broken.jsonl:2", "found",
    ),
    "gone.csv": (None, "gone.csv", "no such file"),
    "folder.csv": (..., "folder.csv", "found"),
}  # fmt: skip

STUDIES = {
    "misspelt table's field": (STUDY.replace("dispatch", "dispach"), "study.toml: [[policies]]", "did you mean dispatch?"),
    "misspelt field": (STUDY.replace("seeds", "seed"), "study.toml: found seed", "did you mean seeds"),
    "missing table": (STUDY.partition("[[policies]]")[0], "study.toml: policies", "[[policies]]"),
    "table of the wrong kind": (STUDY.replace("[[policies]]", "[policies]"), "study.toml: policies", "[[policies]]"),
    "unknown policy": (STUDY.replace("round-robin", "round-robbin"), "study.toml: [[policies]]", "did you mean round-robin?"),
    "unknown parameter": (STUDY.replace("round-robin", "freeness(targetload=3)"), "study.toml: [[policies]]", "did you mean target_load?"),
    "parameter of the wrong type": (STUDY.replace("round-robin", "freeness(target_load='a')"), "study.toml: [[policies]]", "int"),
    "policy that is no text": (STUDY.replace('"round-robin"', "3"), "study.toml: [[policies]]: dispatch", "3"),
    "unknown preset": (STUDY.replace("llama-7b", "lama-7b"), "study.toml: [[fleet]]", "did you mean llama-7b/a10"),
    "malformed fleet": (STUDY.replace("1 x llama-7b/a10", "x x y"), "study.toml: [[fleet]]", "'x x y'"),
    "no instance": (STUDY.replace("1 x", "0 x"), "study.toml: [[fleet]]", "'0 x llama-7b/a10'"),
    "more on than there are": (STUDY.replace("[[policies]]", "initial = 5\n[[policies]]"), "study.toml: [[fleet]]", "from 1 to 1"),
    "none on": (STUDY.replace("[[policies]]", "initial = 0\n[[policies]]"), "study.toml: [[fleet]]", "from 1 to 1"),
    "negative startup": (STUDY.replace("[[policies]]", "startup = -5\n[[policies]]"), "study.toml: [[fleet]]", "startup"),
    "text for a number": (STUDY.replace("[[policies]]", "blocks = 'x'\n[[policies]]"), "study.toml: [[fleet]]", "blocks"),
    "half a block": (STUDY.replace("[[policies]]", "blocks = 2.5\n[[policies]]"), "study.toml: [[fleet]]", "blocks"),
    "no seeds": (STUDY.replace("= 2", "= 0"), "study.toml: seeds", "found 0"),
    "seeds as text": (STUDY.replace("= 2", "= 'two'"), "study.toml: seeds", "'two'"),
    "seeds as truth": (STUDY.replace("= 2", "= true"), "study.toml: seeds", "True"),
    "negative seed": (STUDY.replace("= 2", "= [0, -1]"), "study.toml: seeds", "[0, -1]"),
    "name that is no text": (STUDY.replace('"small"', "3"), "study.toml: name", "found 3"),
    "unknown workload": (STUDY.replace("poisson", "poison"), "study.toml: [[workload]]", "did you mean poisson"),
    "unknown argument": (STUDY.replace("n=5", "m=5"), "study.toml: [[workload]]", "found m"),
    "no requests": (STUDY.replace("n=5", "n=0"), "study.toml: [[workload]]", "n: found 0"),
    "no rate": (STUDY.replace("n=5", "n=5, rate=0"), "study.toml: [[workload]]", "rate: found 0"),
    "unclosed bracket": (STUDY.replace("n=5)", "n=5"), "study.toml: [[workload]]", "poisson(n=5"),
    "missing trace": (STUDY.replace("poisson(n=5)", "gone.csv"), "study.toml: [[workload]]", "gone.csv"),
    "request larger than memory": (STUDY.replace("n=5", "n=5, prompt=99999"), "request 0", "KV memory of llama-7b/a10"),
    "unknown domain": ("domain = 'opera'\n" + STUDY, "study.toml: domain", "opera"),
    "not TOML": ("[[x", "study.toml", "not TOML"),
    "empty": ("", "study.toml: workload", "[[workload]]"),
}  # fmt: skip

PLAN = ("plan", "--trace", "good.csv", "--jobs", "1", "--instance", "llama-7b/a10")
SLO = (*PLAN, "--slo", "ttft_p99<1s")
RUN = ("simulate", "good.csv", "--fleet", "2 x llama-7b/a10")

COMMANDS = [
    (("compare", "gone.toml"), "gone.toml: found no such file"),
    (("compare", "folder"), "folder: found is a directory"),
    (("compare", "study.toml", "--no-report", "--jobs", "0"), "jobs: found 0"),
    (("compare", "study.toml", "--no-report", "--jobs", "many"), "--jobs"),
    (("compare", "study.toml", "--no-report", "--jobs", "1", "--metrics", "ttft_p98"), "did you mean ttft_p"),
    (("compare", "study.toml", "--no-report", "--jobs", "1", "--metrics", ","), "metric"),
    (("compare", "study.toml", "--no-report", "--jobs", "1", "--baseline", "nobody"), "baseline: found nobody"),
    (("compare", "study.toml", "--gantt", "-1"), "--gantt: found -1"),
    (("compare", "study.toml", "--jobs", "1", "--report", "no/such/report.html"), "no/such/report.html"),
    (("compare", "study.toml", "--no-report", "--jobs", "1", "--out", "good.csv"), "good.csv"),
    (("compare", "study.toml", "--bogus"), "--bogus"),
    ((*RUN[:2], "--fleet", "x x y"), "fleet: found 'x x y'"),
    ((*RUN[:2], "--fleet", "99999999999 x llama-7b/a10"), "99999999999"),
    ((*RUN[:2], "--fleet", "1 x nope/h100"), "found nope/h100"),
    ((*RUN[:2], "--fleet", "gone.toml"), "gone.toml"),
    ((*RUN, "--dispatch", "nope"), "serving.dispatch policy: found nope"),
    ((*RUN, "--dispatch", "freeness("), "freeness("),
    ((*RUN, "--reschedule", "llumnix(interval=0)"), "interval: found 0"),
    ((*RUN, "--reschedule", "llumnix(interval=-1)"), "interval: found -1"),
    ((*RUN, "--reschedule", "llumnix(victim='first')"), "victim"),
    ((*RUN, "--reschedule", "disaggregate(prefill=0)"), "prefill"),
    ((*RUN, "--scale", "queue-length(per_instance=0)"), "per_instance"),
    ((*RUN, "--order", "shortest-predicted"), "lengths"),
    ((*RUN, "--perfetto", "no/such/run.json"), "no/such/run.json"),
    ((*RUN, "--parquet", "folder"), "folder"),
    ((*RUN, "--perfetto", "/dev/null/run.json"), "/dev/null/run.json"),
    ((*RUN, "--report", "no/such/run.html"), "no/such/run.html"),
    (("simulate", "poisson(n=5)", "--seed", "-1"), "seed: found -1"),
    ((*PLAN, "--slo", "ttft_p98<1s"), "--slo: found ttft_p98"),
    ((*PLAN, "--slo", "ttft_p99"), "--slo: found 'ttft_p99'"),
    ((*PLAN, "--slo", "ttft_p99<1parsec"), "--slo"),
    ((*PLAN, "--slo", ""), "--slo"),
    ((*SLO, "--most", "0"), "most: found 0"),
    ((*SLO, "--seeds", "0"), "seeds: found 0"),
    ((*SLO, "--policies", "nope"), "found nope"),
    ((*SLO, "--policies", "round-robin + nope"), "serving.reschedule policy: found nope"),
    ((*SLO, "--model", "llama-7b"), "either"),
    ((*SLO[:5], "--slo", "ttft_p99<1s"), "no instance"),
    ((*SLO[:5], "--slo", "ttft_p99<1s", "--model", "nope", "--gpu", "h100"), "model: found nope"),
    (("plan", "--trace", "large.csv", *SLO[3:]), "large: request 1: found 1000010 tokens"),
    (("calibrate", "gone.csv"), "gone.csv"),
    (("calibrate", "good.csv"), "good.csv: found columns"),
    (("calibrate", "steps.csv", "--holdout", "2"), "holdout"),
    (("calibrate", "steps.csv", "--seed", "-1"), "seed: found -1"),
    (("calibrate", "steps.csv", "--base", "nope"), "--base: found nope"),
    (("calibrate", "steps.csv", "--out", "no/such.toml"), "no/such.toml"),
    (("calibrate", "steps.csv", "--picture", "x.png"), "--picture: found x.png"),
    (("workload", "nope"), "nope"),
    (("workload", "generate", "poisson", "--n", "0", "--out", "made.csv"), "n: found 0"),
    (("workload", "generate", "poisson", "--rate", "0", "--out", "made.csv"), "rate: found 0"),
    (("workload", "generate", "poisson(lenght=3)"), "found lenght"),
    (("workload", "generate", "poisson", "--n", "5", "--out", "made.xyz"), "made.xyz"),
    (("workload", "generate", "poisson", "--n", "5", "--out", "no/made.csv"), "no/made.csv"),
    (("workload", "fit", "good.csv", "--arrivals", "nope"), "arrivals: found nope"),
    (("workload", "fit", "good.csv", "--seeds", "0"), "--seeds: found 0"),
    (("workload", "fit", "good.csv", "--out", "no/fitted.json"), "no/fitted.json"),
    (("workload", "fetch", "nope"), "nope"),
    (("reproduce", "nope"), "system: found nope"),
    (("reproduce", "llumnix", "--seeds", "0"), "--seeds: found 0"),
    (("nope",), "nope"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "large.csv").write_text(HEAD + "0,10,10\n1,1000000,10\n")
    (tmp_path / "study.toml").write_text(STUDY)
    rows = (f"{i},{100 * i},0,{0.01 + i * 0.001}\n" for i in range(1, 30))
    (tmp_path / "steps.csv").write_text("decoding,kv_tokens,prefill_tokens,seconds\n" + "".join(rows))
    return tmp_path


def refused(arguments, folder, capsys):
    """The sentence with which a command line is refused."""
    before = sorted(folder.rglob("*"))
    assert main(list(arguments)) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("rota: ")
    assert shown.err.count("\n") == 1, "one sentence"
    assert "Traceback" not in shown.err
    assert sorted(folder.rglob("*")) == before, "nothing half-written"
    return shown.err


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize(
    "command", ["simulate {}", "workload describe {}", "workload convert {} out.jsonl", "workload fit {} --out f.json"]
)
def test_a_trace_that_cannot_be_read(name, command, folder, capsys):
    content, where, found = TRACES[name]
    if content is ...:
        (folder / name).mkdir()
    elif content is not None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    sentence = refused(command.format(name).split(), folder, capsys)
    assert where in sentence
    assert found in sentence


@pytest.mark.parametrize("case", STUDIES)
def test_a_study_that_cannot_be_run(case, folder, capsys):
    text, where, found = STUDIES[case]
    (folder / "study.toml").write_text(text)
    sentence = refused(["compare", "study.toml", "--no-report", "--jobs", "1", "--out", "kept"], folder, capsys)
    assert where in sentence
    assert found in sentence


@pytest.mark.parametrize(
    ("arguments", "said"), COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_command_that_cannot_be_carried_out(arguments, said, folder, capsys):
    assert said in refused(arguments, folder, capsys)


def test_a_mistake_in_the_last_workload_is_found_before_the_first_run(folder, capsys):
    (folder / "study.toml").write_text(STUDY + '[[workload]]\nuse = "large.csv"\n')
    sentence = refused(["compare", "study.toml", "--no-report", "--jobs", "1", "--out", "kept"], folder, capsys)
    assert "large: request 1" in sentence


def test_an_objective_that_no_fleet_keeps_is_said_after_the_table(folder, capsys):
    arguments = [*PLAN, "--slo", "ttft_p99<1us", "--most", "2"]
    assert main(arguments) == 2
    assert "no number of instances" in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 2
    assert '"instances": 0' in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("simulate", "gone.csv"), ("compare", "gone.toml"), ("nope",)])
def test_the_installed_command_says_the_same(arguments, folder):
    done = subprocess.run(
        [sys.executable, "-m", "rota", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rota: ")
    assert done.stderr.count("\n") == 1
