import json
import subprocess
import sys

LIBRARIES = ["torch", "transformers", "optax", "jax", "timm", "keras"]


def told(program):
    """What a Python of its own prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_package_imports_no_library():
    program = "import json, sys, rota.training, rota.training.adapters\nprint(json.dumps(sorted(sys.modules)))"
    assert not set(told(program)) & set(LIBRARIES)


def test_a_missing_library_is_one_sentence_that_names_the_extra():
    program = f"""
import importlib, json, sys
from rota.core.errors import MissingExtra
for name in {LIBRARIES}:
    sys.modules[name] = None
said = {{}}
for name in ("torch", "transformers", "timm", "keras", "optax"):
    try:
        module = importlib.import_module("rota.training.adapters." + name)
        module.optax_schedule("rex", 10)
    except MissingExtra as error:
        said[name] = str(error)
print(json.dumps(said))
"""
    sentence = '{} is not installed; it comes with the extra: pip install "rota[{}]"'
    assert told(program) == {
        "torch": sentence.format("torch", "train"),
        "transformers": sentence.format("torch", "train"),
        **{name: sentence.format(name, "frameworks") for name in ("timm", "keras", "optax")},
    }
