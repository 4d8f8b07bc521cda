"""Claims: what is stated, what was measured, and the JSON that machines read."""

import json
import math
import sys
from types import ModuleType

import pytest
from rich.console import Console

import rota
from rota import reproduce
from rota.core.errors import InputError, UnknownName
from rota.reproduce.claims import Claim, Reproduction, Stated, verdict

STATED = Stated("p99", "Fig. 11, L-L", "Tail prefill latency falls by an order [of magnitude].", "15x")


@pytest.fixture
def reproduction():
    claims = [
        STATED.measured(8.5, (7.0, 10.0), "holds", baseline={"least-load": 1.0}, differs="simulated"),
        STATED.not_shown("needs 16 GPUs"),
        Claim("nan", "s", "t", 2.0, math.nan, (math.nan, math.inf), None, "does not hold", ""),
    ]
    return Reproduction("llumnix", "Sun et al., OSDI 2024", claims, 5, 12.5, "0.1.0")


def test_json_has_the_promised_fields_and_no_others(reproduction):
    whole = json.loads(reproduction.to_json(), parse_constant=pytest.fail)
    assert list(whole) == ["name", "paper", "claims", "seeds", "seconds", "version"]
    first, second, third = whole["claims"]
    assert first == {
        "id": "p99",
        "source": "Fig. 11, L-L",
        "paper_value": "15x",
        "measured": 8.5,
        "interval": [7.0, 10.0],
        "baseline": {"least-load": 1.0},
        "verdict": "holds",
        "differs": "simulated",
    }
    assert (second["measured"], second["interval"], second["baseline"]) == (None, None, None)
    assert (second["verdict"], second["differs"]) == ("not shown here", "needs 16 GPUs")
    assert (third["measured"], third["interval"]) == (None, [None, None])


def test_the_table_shows_paper_beside_measurement(reproduction):
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(reproduction)
    text = console.export_text()
    for part in ("15x", "8.5 [7, 10]", "least-load 1", "holds", "not shown here", "needs 16", "[of", "5 seeds"):
        assert part in text, part


def test_a_verdict_is_one_of_three():
    with pytest.raises(InputError, match="claim p99: verdict"):
        STATED.measured(1.0, None, "maybe")


@pytest.mark.parametrize(
    ("interval", "bounds", "expected"),
    [
        ((5.0, 9.0), {"at_least": 5.0}, "holds"),
        ((4.0, 9.0), {"at_least": 5.0}, "not shown here"),
        ((1.0, 4.0), {"at_least": 5.0}, "does not hold"),
        ((1.0, 4.0), {"at_least": 1.0, "at_most": 4.0}, "holds"),
        ((5.0, 6.0), {"at_most": 4.0}, "does not hold"),
        ((0.0, 9.0), {"at_least": 2.0, "at_most": 4.0}, "not shown here"),
        ((math.nan, 9.0), {"at_least": 2.0}, "not shown here"),
        (None, {"at_least": 2.0}, "not shown here"),
    ],
)
def test_verdict_of_an_interval(interval, bounds, expected):
    assert verdict(interval, **bounds) == expected


@pytest.fixture
def system(monkeypatch):
    """A published system that exists for one test."""
    module = ModuleType("rota.reproduce.my_system")
    module.PAPER, module.CLAIMS = "A paper", (STATED,)

    def run(seeds=5, quick=False, progress=None):
        progress("working")
        return [STATED.measured(float(seeds), None, "holds", differs="quick" if quick else "")]

    module.run = run
    monkeypatch.setitem(sys.modules, "rota.reproduce.my_system", module)
    shipped = reproduce.names()
    monkeypatch.setattr(reproduce, "names", lambda: [*shipped, "my-system"])


def test_reproduce_runs_a_system_by_name(system):
    lines = []
    found = reproduce.reproduce("my-system", seeds=3, quick=True, progress=lines.append)
    assert (found.name, found.paper, found.seeds, found.version) == ("my-system", "A paper", 3, rota.__version__)
    assert (found.claims[0].measured, found.claims[0].differs) == (3.0, "quick")
    assert lines == ["working"]
    assert found.seconds >= 0


def test_names_that_are_none(system):
    with pytest.raises(UnknownName, match="did you mean my-system"):
        reproduce.load("my-sistem")
    with pytest.raises(UnknownName):
        reproduce.load("claims")
    with pytest.raises(InputError, match="seeds: found 1"):
        reproduce.reproduce("my-system", seeds=1)


@pytest.mark.parametrize("name", reproduce.names())
def test_shipped_systems_state_their_claims(name):
    module = reproduce.load(name)
    assert isinstance(module.PAPER, str)
    assert module.PAPER
    assert module.CLAIMS
    assert all(isinstance(claim, Stated) for claim in module.CLAIMS)
    ids = [claim.id for claim in module.CLAIMS]
    assert len(set(ids)) == len(ids)
    assert all(claim.source and claim.statement for claim in module.CLAIMS)
    assert callable(module.run)
    assert module.__doc__
