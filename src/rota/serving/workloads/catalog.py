"""Workloads by name: a generator, a fitted model of a public trace, or a file, each with arguments in brackets.

llumnix(trace="L-L", rate=3.0, n=10000)      a generator
azure-2023-conv(rate=5, n=2000)              a fitted model that comes with the package
traces/mine.csv(end=600, rate=5)             a file, and the part of it to use
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rota.core.errors import InputError, UnknownName
from rota.core.registry import parse
from rota.serving.model import Workload
from rota.serving.workloads.fitted import load, shipped
from rota.serving.workloads.read import options, read
from rota.serving.workloads.select import select

GENERATORS = {
    "burstgpt": "burstgpt", "fixed": "synthetic", "gamma": "synthetic", "llumnix": "llumnix", "poisson": "synthetic",
    "sessions": "sessions", "tenants": "tenants", "workflows": "workflows",
}  # fmt: skip
"""Generator: the module of this package that holds the function of that name."""

PART = ("start", "end", "n", "rate")
"""What may be asked of any file, see `select`."""

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


def by_name(spec: str, seed: int = 0) -> Workload:
    """The workload that a spec string stands for.

    Args:
        spec: `NAME`, `NAME(parameter=value, ...)` or a path, see `names` and the head of this module.
        seed: root seed, for what is drawn; a `seed` in the spec goes first. A file is the same at any seed.

    Raises:
        UnknownName: no such workload, or no such parameter; names the nearest.
        InputError: a file that cannot be read, or a value out of range.
    """
    name, arguments = parse(spec)
    if _is_path(name):
        return _from_file(name, arguments)
    if name in GENERATORS:
        make = generator(name)
        _check_arguments(name, arguments, inspect.signature(make).parameters)
        return _call(name, make, {"seed": seed, **arguments})
    if name in shipped():
        _check_arguments(name, arguments, ("n", "duration", "rate", "seed"))
        return load(name).generate(**{"seed": seed, **arguments})
    raise UnknownName("workload", name, [*names(), "a path to a trace"])


def names() -> list[str]:
    """Every workload that needs no file: generators and fitted models of public traces."""
    return sorted([*GENERATORS, *shipped()])


def generator(name: str) -> Callable[..., Workload]:
    """The function behind a generator's name."""
    made: Callable[..., Workload] = getattr(importlib.import_module(f"rota.serving.workloads.{GENERATORS[name]}"), name)
    return made


def _from_file(name: str, arguments: dict[str, Any]) -> Workload:
    part = {key: arguments.pop(key) for key in PART if key in arguments}
    if arguments:
        _check_arguments(name, arguments, (*options(Path(name)), *PART))
    workload = _call(name, read, {"path": name, **arguments})
    return _call(name, select, {"workload": workload, **part}) if part else workload


def _is_path(name: str) -> bool:
    return os.sep in name or name.endswith(SUFFIXES) or Path(name).is_file()


def _check_arguments(name: str, arguments: dict[str, Any], known: Any) -> None:
    for key in arguments:
        if key not in known:
            raise UnknownName(f"parameter of workload {name}", key, known)


def _call(name: str, make: Callable[..., Workload], arguments: dict[str, Any]) -> Workload:
    try:
        return make(**arguments)
    except TypeError as error:
        raise InputError(f"workload {name}", str(error), "values of the right type") from None
