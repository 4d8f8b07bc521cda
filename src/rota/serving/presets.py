"""Instances with measured or fitted step costs, by name: `preset("llama-3-8b/h100")`.

A name is `MODEL/GPU` or `MODEL/GPU-tpN` in lower case. The numbers, with hardware, model and source of each, stand in
`presets.toml` beside this file, which `benchmarks/fit_presets.py` writes.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from rota.core.errors import UnknownName
from rota.serving.instance_file import instance_of
from rota.serving.model import Instance
from rota.serving.roofline import GPUS, MODELS, instance_name, named, roofline


def presets() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(_tables())


def preset(name: str) -> Instance:
    """The instance called `name`.

    Raises:
        UnknownName: there is none; the sentence offers the nearest.
    """
    if name.lower() not in _tables():
        raise UnknownName("preset", name, presets())
    table = _tables()[name.lower()]
    return instance_of({"name": name.lower(), **table}, f"preset {name}")


def find(model: str, gpu: str, tp: int = 1) -> Instance:
    """The preset of `model` on `tp` GPUs where there is one, else a roofline estimate.

    Raises:
        UnknownName: no such model, or no such GPU.
        InputError: the weights do not fit.
    """
    named(MODELS, model, "model")
    named(GPUS, gpu, "GPU")
    for name in (instance_name(model.lower(), gpu.lower(), tp), f"{model.lower()}/{tp}x{gpu.lower()}"):
        if name in _tables():
            return preset(name)
    return roofline(model.lower(), gpu.lower(), tp)


def about(name: str) -> dict[str, str]:
    """`hardware`, `model` and `source` of a preset, as text."""
    return dict(_tables()[preset(name).name]["about"])


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("rota.serving").joinpath("presets.toml").read_text("utf-8"))
