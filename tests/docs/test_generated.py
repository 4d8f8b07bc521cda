"""The committed pages that come from the code are what the code says now."""

import importlib.util
import json
import types
from pathlib import Path

import pytest

from rota.reproduce.claims import Stated

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(generate):
    assert [str(path.relative_to(ROOT)) for path in generate.stale()] == [], "run: python docs/generate.py"


def test_every_policy_and_system_has_its_place(generate):
    text = generate.policies_page()
    assert all(f"`{entry.spec}`".replace("|", "\\|") in text for entry in generate.rota.policies())
    assert {path.stem for path in generate.pages() if path.parent.name == "systems"} == set(generate.systems())


def test_a_changed_page_is_found(generate, tmp_path):
    (tmp_path / "docs" / "systems").mkdir(parents=True)
    gone = tmp_path / "docs" / "systems" / "gone.md"
    gone.touch()
    assert set(generate.stale(tmp_path)) == {*generate.pages(tmp_path), gone}


def test_measured_values_stand_beside_the_claims(generate):
    claims = (Stated("speed", "Fig. 1", "Fast | good.", 2.0), Stated("size", "Sec. 2", "Small.", "1.4-5.8x"))
    module = types.SimpleNamespace(PAPER="A. Author [2024]", CLAIMS=claims, __doc__="A toy.")
    claim = claims[0].measured(1.5, (1.2, 1.8), "does not hold", baseline={"simple": 1.0}, differs="smaller")
    fields = {name: getattr(claim, name) for name in ("id", "measured", "interval", "baseline", "verdict", "differs")}
    measured = json.loads(json.dumps({"claims": [fields], "seeds": 5, "seconds": 9.7, "version": "0.1.0"}))
    text = generate.system_page("toy", module, measured)
    assert "| `speed` | Fast \\| good. | Fig. 1 | 2 |" in text
    assert "| `speed` | 1.5 | 1.2 to 1.8 | simple 1 | does not hold | smaller |" in text
    assert "rota reproduce toy" in generate.system_page("toy", module, None)


def test_a_benchmark_stands_with_its_goal(generate, tmp_path):
    fast = {"question": "how fast", "against": "peer 1.0", "value": 12.5, "unit": "x", "goal": ">= 30", "met": False}
    near = {"question": "how near", "against": "nobody", "value": 0.5, "unit": "%", "goal": "", "met": None}
    rows = [{**fast, "detail": "one run"}, {**near, "detail": ""}]
    (tmp_path / "fleet_speed.json").write_text(json.dumps({"rows": rows, "machine": "2 cores"}))
    text = generate.benchmarks_page(tmp_path)
    assert "Machine: 2 cores." in text
    assert "| how fast | peer 1.0 | 12.5 x | >= 30: not met | one run |" in text
    assert "| how near | nobody | 0.5 % |  |  |" in text
    assert "Not measured yet." in text
