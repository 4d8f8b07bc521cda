"""The decision log: what was recorded is what a fresh policy answers, also after a journey through a file."""

import pytest
from small_fleets import fleet, requests

from rota.core.errors import InputError
from rota.serving.model import Workload
from rota.serving.replay import DecisionLog, replay
from rota.serving.simulate import simulate

POLICIES = {
    "dispatch": [
        "round-robin", "random(seed=3)", "power-of-two(seed=3)", "least-requests", "least-load", "freeness", "session-affinity",
        "prefix-aware", "earliest-finish", "prefill-pool",
    ],
    "reschedule": ["none", "llumnix(interval=0.05)", "balanced(interval=0.05)", "drain(interval=0.05)", "disaggregate"],
    "scale": ["fixed", "queue-length(interval=0.5, per_instance=2)", "freeness-band(interval=0.5)"],
    "order": ["fcfs", "priority", "vtc", "dlpm"],
}  # fmt: skip
SILENT = {"none", "fixed"}


def recorded(**policies):
    n = 40
    w = requests(
        n,
        rate=12,
        prompt=300,
        session=[k % 7 for k in range(n)],
        tenant=[k % 3 for k in range(n)],
        tenants=("a", "b", "c"),
    )
    shared = Workload.of(
        w.arrival, w.prompt, w.output, session=w.session, tenant=w.tenant, tenants=w.tenants, prefix_chunk=32,
        prefix_start=list(range(n + 1)), prefix_hash=[k % 5 for k in range(n)],
    )  # fmt: skip
    log = DecisionLog()
    simulate(
        fleet(3, blocks=60, prefix_cache=True, initial=2 if "scale" in policies else None),
        shared,
        policies,
        observe=log,
    )
    return log


@pytest.mark.parametrize(("kind", "spec"), [(kind, spec) for kind, specs in POLICIES.items() for spec in specs])
def test_a_policy_gives_its_own_answers_again(kind, spec, tmp_path):
    log = recorded(**{kind: spec})
    log.save(tmp_path / "log.jsonl")
    loaded = DecisionLog.load(tmp_path / "log.jsonl")
    assert len(loaded) == len(log)
    for each in (log, loaded):
        pairs = replay(each, kind, spec)
        assert all(old == new for old, new in pairs)
        assert bool(pairs) == (spec not in SILENT)


def test_another_policy_answers_otherwise():
    pairs = replay(recorded(dispatch="round-robin"), "dispatch", "least-load")
    assert any(old != new for old, new in pairs)


def test_views_are_copied_not_kept():
    log = recorded(dispatch="least-load")
    running = [d.views[1]["running"]["values"] for d in log.decisions if d.kind == "dispatch.choose"]
    assert running[0] == [0, 0, 0]
    assert max(max(each) for each in running) > 0


def test_predicted_lengths_survive_the_file(tmp_path):
    policies = {"order": "shortest-predicted", "lengths": "oracle-sample"}
    log = recorded(**policies)
    log.save(tmp_path / "log.jsonl")
    pairs = replay(DecisionLog.load(tmp_path / "log.jsonl"), "order", "shortest-predicted")
    assert pairs
    assert all(old == new for old, new in pairs)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "log.jsonl:1: found"),
        ("not json\n", "log.jsonl:1: found"),
        ('{"instances": []}\n{"kind": 3}\n', "log.jsonl:2: found"),
    ],
)
def test_a_file_that_is_no_log_is_told_by_its_line(text, sentence, tmp_path):
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(InputError, match=sentence):
        DecisionLog.load(tmp_path / "log.jsonl")
    with pytest.raises(InputError, match="no such file"):
        DecisionLog.load(tmp_path / "missing.jsonl")
