import json
import types

import pytest

from rota.cli import main, reproduce
from rota.reproduce.claims import Stated

CLAIMS = (Stated("speed", "Fig. 1", "It is fast.", 2.0), Stated("quality", "Sec. 5", "It is good.", None))


def run(seeds=5, quick=False, progress=None):
    progress(f"{seeds} seeds, quick {quick}")
    held = CLAIMS[0].measured(1.5, (1.2, 1.8), "does not hold", baseline={"simple": 1.0}, differs="smaller")
    return [held, CLAIMS[1].not_shown("needs a model")]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    module = types.SimpleNamespace(PAPER="A. Author: Toy [2024]", CLAIMS=CLAIMS, run=run)
    monkeypatch.setattr(reproduce, "systems", lambda: {"toy": module})


def test_a_claim_that_does_not_hold_is_a_result(capsys):
    assert main(["reproduce", "toy"]) == 0
    shown = capsys.readouterr()
    assert "does not hold" in " ".join(shown.out.split()) or "does not" in shown.out
    assert shown.err == "5 seeds, quick False\n"


def test_json_has_the_agreed_fields(capsys):
    assert main(["reproduce", "toy", "--seeds", "3", "--quick", "--json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document.keys() == {"name", "paper", "claims", "seeds", "seconds", "version"}
    fields = {"id", "source", "paper_value", "measured", "interval", "baseline", "verdict", "differs"}
    assert all(claim.keys() == fields for claim in document["claims"])
    assert (document["name"], document["seeds"]) == ("toy", 3)
    assert shown.err == "3 seeds, quick True\n"


def test_without_a_name_all_are_listed(capsys):
    assert main(["reproduce"]) == 0
    assert "Toy [2024]" in capsys.readouterr().out
    assert main(["reproduce", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "toy", "paper": "A. Author: Toy [2024]", "claims": 2}]


def test_no_seeds_is_a_mistake(capsys):
    assert main(["reproduce", "toy", "--seeds", "0"]) == 2
    assert "--seeds: found 0" in capsys.readouterr().err
