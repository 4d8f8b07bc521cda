"""Fleets as text: `16 x llama-7b/a10`, several kinds with `+`, and tables of a study file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rota.core.errors import InputError, UnknownName
from rota.core.registry import parse
from rota.serving.instance_file import load_instance
from rota.serving.model import Fleet, Instance
from rota.serving.presets import preset

TERM = re.compile(r"\s*(?:(\d+)\s*x\s+)?([^\s(]+(?:\(.*\))?)\s*$")
MOST = 100_000
"""Instances of one kind in a fleet: more is a slip of the finger."""
OPTIONS = ("initial", "startup", "report_interval", "counts_sent", "name")
TUNABLE = tuple(
    f.name for f in fields(Instance) if f.type in ("int", "float", "bool", "str") or "Literal" in str(f.type)
)


def fleet(spec: str | Mapping[str, Any]) -> Fleet:
    """A fleet from text or a table.

    Args:
        spec: `N x INSTANCE [+ M x INSTANCE ...]`, where INSTANCE is as in `instance`; or a table with
            that text under `instances`, the options of `Fleet`, and values for fields of every `Instance`
            (e.g. `prefix_cache = true`).

    Raises:
        InputError, UnknownName: a malformed term, an unknown preset or field.
    """
    if isinstance(spec, str):
        return Fleet(_kinds(spec), name=spec)
    known = ("instances", *OPTIONS, *TUNABLE)
    for key in spec:
        if key not in known:
            raise UnknownName("fleet", key, known)
    if "instances" not in spec:
        raise InputError("fleet", "no `instances`", "instances such as '16 x llama-7b/a10'")
    tuned = {key: spec[key] for key in spec if key in TUNABLE and key not in OPTIONS}
    options = {key: spec[key] for key in spec if key in OPTIONS}
    kinds = tuple(_tuned(kind, tuned) for kind in _kinds(spec["instances"]))
    return Fleet(kinds, **{"name": spec["instances"], **options})


def instance(spec: str) -> Instance:
    """A preset or the instance in a TOML file, with fields of one's own where wanted: `llama-3-8b/h100(prefix_cache=True)`."""
    name, tuned = parse(spec)
    for key in tuned:
        if key not in TUNABLE:
            raise UnknownName(f"instance {name}", key, TUNABLE)
    return _tuned(load_instance(Path(name)) if name.endswith(".toml") else preset(name), tuned)


def _kinds(text: str) -> tuple[Instance, ...]:
    kinds: list[Instance] = []
    for term in str(text).split("+"):
        match = TERM.match(term)
        if not match or not 1 <= int(match[1] or 1) <= MOST:
            expected = f"e.g. '16 x llama-7b/a10', at most {MOST} of a kind, several kinds with '+'"
            raise InputError("fleet", repr(text), expected)
        kinds += [instance(match[2])] * int(match[1] or 1)
    return tuple(kinds)


def _tuned(kind: Instance, values: Mapping[str, Any]) -> Instance:
    for key, value in values.items():
        old = getattr(kind, key)
        wrong = isinstance(value, bool) != isinstance(old, bool) or isinstance(value, str) != isinstance(old, str)
        wrong = wrong or (isinstance(value, float) and isinstance(old, int))
        if wrong or not isinstance(value, (int, float, str)):
            raise InputError(f"{kind.name}: {key}", repr(value), f"a value such as {old!r}")
    return replace(kind, **values)
