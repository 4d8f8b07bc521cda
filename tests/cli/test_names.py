"""What `import rota` offers, and what it costs."""

import subprocess
import sys

import pytest

import rota


@pytest.mark.parametrize("name", rota.__all__)
def test_every_exported_name_is_there(name):
    assert getattr(rota, name) is not None
    assert name in dir(rota)


def test_the_homes_agree_with_the_names():
    assert set(rota._HOMES) < set(rota.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        rota.nonsense  # noqa: B018


def test_importing_rota_is_light():
    heavy = ["numpy", "numba", "polars", "plotly", "ray", "rich"]
    code = f"import sys, rota; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
