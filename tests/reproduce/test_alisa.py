from __future__ import annotations

import pytest

from rota.reproduce import reproduce
from rota.reproduce.alisa import CLAIMS
from rota.reproduce.claims import Reproduction


@pytest.fixture(scope="module")
def reproduction() -> Reproduction:
    return reproduce("alisa", quick=True)


def test_every_stated_claim_is_judged_once(reproduction):
    assert sorted(claim.id for claim in reproduction.claims) == sorted(claim.id for claim in CLAIMS)
    assert all(claim.differs or claim.verdict == "holds" for claim in reproduction.claims)


def test_nothing_is_random_so_there_is_no_interval(reproduction):
    assert all(claim.interval is None for claim in reproduction.claims)


def test_accuracy_is_left_to_the_real_engine(reproduction):
    claims = {claim.id: claim for claim in reproduction.claims}
    assert claims["accuracy"].verdict == "not shown here"
    assert claims["accuracy"].measured is None


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("kv-size", 26.8, 26.9),
        ("phase-switch", 225, 228),
        ("host-half", 2.5, 3.5),
        ("host-all", 4.2, 5.8),
        ("flexgen-least", 1.4, 2.0),
        ("flexgen-most", 2.5, 3.45),
        ("vllm-most", 1.6, 2.2),
        ("vllm-small", 0.9, 1.0),
        ("greedy-gap", 0.0, 0.01),
    ],
)
def test_figures(reproduction, name, low, high):
    found = {claim.id: claim.measured for claim in reproduction.claims}[name]
    assert low <= found <= high
