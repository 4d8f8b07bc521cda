"""Importing Rota, or asking what there is, loads nothing heavy; and rooms import downward only."""

import subprocess
import sys

import pytest

HEAVY = ("numba", "torch", "ortools", "polars", "plotly", "ray", "scipy", "sklearn")
QUESTIONS = {
    "import": "import rota",
    "policies": "import rota; from rota.core.registry import names; assert names('serving.dispatch')",
    "systems": "import rota.reproduce; rota.reproduce.names()",
    "kernel": "import rota.core.timeline, rota.core.study, rota.core.verify, rota.core.clock, rota.core.events",
    "contract": "import rota.testing",
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_nothing_heavy_is_loaded(question):
    code = f"{question}\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []


def test_every_name_promised_at_the_top_is_there():
    import rota

    assert set(rota.__all__) <= set(dir(rota))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rota.nothing  # noqa: B018
