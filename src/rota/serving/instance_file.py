"""An `Instance` as a TOML file: what `rota calibrate --out` writes, what `presets.toml` holds, what `rota plan` reads.

The keys are the attributes of `Instance`; `cost`, `migration` and `swap` are tables of their own. Attributes left out
keep their default. Free text about where the numbers come from stands under `about` and is not read.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from rota.core.errors import InputError, UnknownName
from rota.serving.model import Instance, StepCost, Transfer

TABLES: dict[str, type] = {"cost": StepCost, "migration": Transfer, "swap": Transfer}


def load_instance(path: str | Path) -> Instance:
    """The instance that a TOML file describes.

    Raises:
        InputError: no such file, not TOML, a misspelt key, or a value of the wrong type or out of range.
    """
    try:
        table = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(
            str(path), error.strerror or "an unreadable file", "a TOML file that describes an instance"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), f"text that is not TOML ({error})", "a TOML file that describes an instance"
        ) from None
    return instance_of(table, str(path))


def instance_of(table: Mapping[str, Any], where: str) -> Instance:
    """The instance that a table of attributes describes; `where` names the table in errors."""
    plain = {key: value for key, value in table.items() if key != "about"}
    _known_keys(plain, Instance, where)
    for key, kind in TABLES.items():
        _known_keys(plain.get(key, {}), kind, f"{where}: {key}")
    try:
        return msgspec.convert(plain, Instance)
    except msgspec.ValidationError as error:
        raise InputError(where, f"a value that does not fit ({error})", "the attributes of an Instance") from None


def save_instance(instance: Instance, path: str | Path, about: Mapping[str, str] | None = None) -> None:
    """Write `instance` so that `load_instance` gives back an equal one; `about` is kept beside it as text."""
    from rota.core.atomic import atomic_write

    with atomic_write(path, "w") as file:
        file.write(toml_of(instance, about or {}))


def toml_of(instance: Instance, about: Mapping[str, str] | None = None) -> str:
    """The text of `save_instance`."""
    own = [f for f in fields(instance) if f.name not in TABLES]
    lines = _assignments((f.name, getattr(instance, f.name)) for f in own)
    for key in TABLES:
        part = getattr(instance, key)
        lines += ["", f"[{key}]", *_assignments((f.name, getattr(part, f.name)) for f in fields(part))]
    if about:
        lines += ["", "[about]", *_assignments(about.items())]
    return "\n".join(lines) + "\n"


def _assignments(pairs: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{key} = {_literal(value)}" for key, value in pairs]


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(v) for v in value)}]"
    if isinstance(value, float):
        return repr(float(value))
    return json.dumps(value)


def _known_keys(table: Any, kind: type, where: str) -> None:
    if not isinstance(table, Mapping):
        raise InputError(where, repr(table), "a table")
    assert is_dataclass(kind)
    known = [f.name for f in fields(kind)]
    for key in table:
        if key not in known:
            raise UnknownName(f"{where}: key", key, known)
