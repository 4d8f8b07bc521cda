"""One door for the three kinds of run: which it is follows from the policies, and what does not belong together is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rota.core.errors import InputError, UnknownName
from rota.serving.fleets import instance
from rota.serving.preemptive import simulate_preemptive
from rota.serving.residency import offline_batch, simulate_residency
from rota.serving.settings import KINDS, SETTINGS, check_policies, curves, run, setting
from rota.serving.study import compare
from rota.serving.workloads import by_name

CHAT = "sessions(n=12, rate=1.0, think=5.0)"
ENGINE = "1 x llama-3-8b/a10(blocks=1200)"
OFFLINE = {"workload": "offline(batch=8, output=64)", "fleet": "opt-13b/v100-32gb", "seed": 0}


def spec(policies: dict[str, str], **other: Any) -> dict[str, Any]:
    return {"workload": CHAT, "fleet": ENGINE, "seed": 3, "policies": policies, **other}


def test_every_kind_belongs_to_one_setting() -> None:
    assert len(KINDS) == len(set(KINDS))
    for kind in KINDS:
        if kind != "priorities":
            assert kind in setting({kind: "whatever"}).kinds
    assert setting({}) is SETTINGS[0]


@pytest.mark.parametrize(
    "policies",
    [{"swap": "reuse", "dispatch": "random"}, {"priorities": "markov"}, {"residency": "dense", "swap": "reuse"}],
)
def test_kinds_of_two_settings_are_refused(policies: dict[str, str]) -> None:
    with pytest.raises(InputError, match="kinds that go together"):
        check_policies(policies)


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ({"swop": "reuse"}, "swap"),
        ({"swap": "reuze"}, "reuse"),
        ({"swap": "reuse", "priorities": "marcov"}, "markov"),
        ({"swap": "reuse", "priorities": "markov(frequency=3)"}, "in \\(0, 1\\]"),
        ({"swap": "reuse", "priorities": "markov(frequency='x')"}, "in \\(0, 1\\]"),
        ({"swap": "reuse", "priorities": "markov(often=1)"}, "frequency"),
        ({"residency": "sparse-windows"}, "sparse-window"),
    ],
)
def test_a_misspelt_policy_is_named(policies: dict[str, str], said: str) -> None:
    with pytest.raises((InputError, UnknownName), match=said):
        check_policies(policies)


def test_swap_is_the_preemptive_engine() -> None:
    found = run(spec({"swap": "block-groups", "priorities": "random(frequency=0.02)"}))
    direct = simulate_preemptive(instance(ENGINE[4:]), by_name(CHAT, seed=3), "block-groups", "random", 0.02, 3)
    assert found.metrics == direct.metrics
    found.check()
    assert set(curves(found)) == {"ttft", "tpot", "e2e"}
    with pytest.raises(InputError, match="audit"):
        direct.check()


def test_residency_is_the_offline_batch() -> None:
    found = run({**OFFLINE, "policies": {"residency": "static-split"}})
    direct = simulate_residency(offline_batch("opt-13b/v100-32gb", 8, 128, 64), "static-split")
    assert found.metrics == direct.metrics
    found.check()
    assert curves(found) == {}


def test_a_fleet_has_load_over_time() -> None:
    found = run(spec({"dispatch": "random"}))
    drawn = curves(found)
    assert set(drawn) == {"ttft", "tpot", "e2e", "load", "running", "waiting"}
    assert all(len(c["x"]) == len(c["y"]) and np.all(np.diff(c["x"]) >= 0) for c in drawn.values())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (spec({"swap": "reuse"}, fleet="2 x llama-3-8b/a10"), "2 instances"),
        (spec({"swap": "reuse"}, fleet="llama-3-8b/a10(blocks=4)"), "KV memory"),
        (spec({"swap": "reuse"}, fleet={"instances": "llama-3-8b/a10", "startup": 3.0}), "startup"),
        (
            {**OFFLINE, "policies": {"residency": "dense"}, "fleet": {"instances": "opt-13b/v100-32gb", "blocks": 5}},
            "blocks",
        ),
        ({**OFFLINE, "policies": {"residency": "dense"}, "fleet": {"name": "x"}}, "MODEL/DEVICE"),
        ({**OFFLINE, "policies": {"residency": "dense"}, "workload": CHAT}, "offline"),
        ({**OFFLINE, "policies": {"residency": "dense"}, "workload": "offline(size=3)"}, "batch"),
        ({**OFFLINE, "policies": {"residency": "dense"}, "workload": "offline(batch=2.5)"}, "whole number"),
        ({**OFFLINE, "policies": {"residency": "dense"}, "fleet": "opt-13b/v1000"}, "v100"),
    ],
)
def test_what_cannot_be_run_is_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises((InputError, UnknownName), match=said):
        run(wrong)


def test_a_study_may_hold_two_settings_side_by_side_only_where_both_fit() -> None:
    study = {
        "seeds": 1,
        "workload": [{"use": CHAT}],
        "fleet": [{"instances": "llama-3-8b/a10", "blocks": 1200}],
        "policies": [{"swap": "per-block"}, {"swap": "reuse", "priorities": "random"}, {"dispatch": "round-robin"}],
    }
    results = compare(study, jobs=1, progress=False)
    assert len(results.rows) == 3
    assert all("ttft_mean" in row.metrics for row in results.rows)
    with pytest.raises(InputError, match=r"\[\[fleet\]\]: fleet"):
        compare({**study, "fleet": [{"instances": "2 x llama-3-8b/a10"}]}, jobs=1, progress=False)


def test_a_study_of_residency() -> None:
    study = {
        "seeds": 1,
        "workload": [{"use": OFFLINE["workload"]}],
        "fleet": [{"instances": OFFLINE["fleet"], "name": "one V100"}],
        "policies": [{"residency": "static-split"}, {"residency": "block-swap"}],
    }
    results = compare(study, jobs=1, progress=False)
    assert [row.labels["fleet"] for row in results.rows] == ["one V100"] * 2
    assert all(row.metrics["throughput_tps"] > 0 for row in results.rows)
