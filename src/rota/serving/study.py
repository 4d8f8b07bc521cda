"""Studies of serving: a TOML file's workloads x fleets x policies x seeds, and what each of those runs yields."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rota.core.errors import InputError, UnknownName
from rota.core.results import Results
from rota.core.store import Cell
from rota.core.study import run_study
from rota.core.timeline import Timeline
from rota.serving.settings import KINDS, Setting, check_policies, curves, run, setting

FIELDS = ("name", "domain", "seeds", "baseline", "workload", "fleet", "policies")


def default_study() -> Path:
    """The study that comes with Rota."""
    return Path(str(files("rota.serving").joinpath("studies/default.toml")))


def compare(
    study: str | os.PathLike[str] | Mapping[str, Any] | None = None, *, out: str | os.PathLike[str] | None = None,
    jobs: int | None = None, ray: str | None = None, progress: bool = True,
) -> Results:  # fmt: skip
    """Run a study: every workload on every fleet under every set of policies, with every seed.

    Args:
        study: path of a study file, or its content as a mapping; the study that comes with Rota if left out.
        out: folder that keeps finished runs, so that a stopped study goes on where it was.
        jobs, ray, progress: see `rota.core.study.run_study`.
    """
    name, todo = cells(default_study() if study is None else study)
    return run_study(name, todo, f"{__name__}:execute", out=out, jobs=jobs, ray=ray, progress=progress)


def cells(study: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[str, list[Cell]]:
    """The name of a study and its cells.

    Raises:
        InputError, UnknownName: a file that is not TOML, a misspelt or missing field, an unknown workload, preset or policy.
    """
    where, table, folder = _table(study)
    _known(where, table, FIELDS)
    workloads = [_named(where, "workload", t, "use", ("name", "use")) for t in _tables(where, table, "workload")]
    fleets = [_named(where, "fleet", t, "instances", None) for t in _tables(where, table, "fleet")]
    policies = [_named(where, "policies", t, None, ("name", *KINDS)) for t in _tables(where, table, "policies")]
    seeds = _seeds(where, table.get("seeds", 5))
    for each in workloads:
        each["use"] = _anchored(each["use"], folder)
    _try(where, workloads, fleets, policies, seeds[0])
    todo = [
        Cell(
            {"workload": w["name"], "fleet": f["name"], "policies": p["name"], "seed": seed},
            {"workload": w["use"], "fleet": f, "policies": {k: v for k, v in p.items() if k != "name"}, "seed": seed},
        )
        for w, f, p, seed in product(workloads, fleets, policies, seeds)
    ]  # fmt: skip
    return _text(where, table, "name", where), todo


def _try(
    where: str, workloads: Sequence[dict[str, Any]], fleets: Sequence[dict[str, Any]], policies: Sequence[dict[str, Any]], seed: int
) -> None:  # fmt: skip
    """Make every part of a study once, so that no mistake in it comes to light only after hours of other cells."""
    chosen: list[Setting] = []
    for each in policies:
        with _within(f"{where}: [[policies]]"):
            specs = {kind: spec for kind, spec in each.items() if kind != "name"}
            check_policies(specs)
            chosen.append(setting(specs))
    for one in dict.fromkeys(chosen):
        systems = []
        for each in fleets:
            with _within(f"{where}: [[fleet]]"):
                systems.append(one.system(each))
        for each in workloads:
            with _within(f"{where}: [[workload]]"):
                load = one.load(each["use"], seed)
                for system in systems:
                    one.fit(system, load)


@contextmanager
def _within(where: str) -> Iterator[None]:
    """Say in an error where in the study the mistake stands."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{where}: {error.where}", error.found, error.expected) from error


def execute(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run one cell: its metrics, and curves to draw."""
    outcome = run(spec)
    return {"metrics": {k: v for k, v in outcome.metrics.items() if np.isfinite(v)}, "curves": curves(outcome)}


def timeline(spec: Mapping[str, Any]) -> Timeline:
    """The timeline of one cell's run."""
    return run(spec).timeline


def _table(study: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[str, Mapping[str, Any], Path]:
    if isinstance(study, Mapping):
        return "study", study, Path()
    path = Path(study)
    try:
        return str(path), tomllib.loads(path.read_text("utf-8")), path.parent
    except FileNotFoundError:
        raise InputError(str(path), "no such file", "a study in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"what is not TOML: {error}", "a study in TOML") from None


def _tables(where: str, table: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not found or not all(isinstance(each, Mapping) for each in found):
        raise InputError(f"{where}: {key}", "none" if not found else repr(found), f"at least one table [[{key}]]")
    return found


def _named(
    where: str, kind: str, table: Mapping[str, Any], needed: str | None, known: tuple[str, ...] | None
) -> dict[str, Any]:
    """A table of the study with a `name`, and no key that is not known."""
    if known is not None:
        _known(f"{where}: [[{kind}]]", table, known)
    if needed and not isinstance(table.get(needed), str):
        raise InputError(f"{where}: [[{kind}]]", f"{needed} = {table.get(needed)!r}", "a text")
    spoken = ", ".join(str(table[k]) for k in table if k != "name") or "defaults"
    return {**table, "name": _text(f"{where}: [[{kind}]]", table, "name", spoken)}


def _text(where: str, table: Mapping[str, Any], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise InputError(f"{where}: {key}", repr(value), "a text")
    return value


def _known(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise UnknownName(where, key, known)


def _seeds(where: str, seeds: object) -> list[int]:
    counted = isinstance(seeds, int) and not isinstance(seeds, bool)
    try:
        chosen = list(range(seeds)) if counted else msgspec.convert(seeds, list[int])  # type: ignore[call-overload]
    except msgspec.ValidationError:
        chosen = []
    if not chosen or min(chosen) < 0:
        raise InputError(f"{where}: seeds", repr(seeds), "a count of at least 1, or a list of whole numbers >= 0")
    return chosen


def _anchored(use: str, folder: Path) -> str:
    """A relative path in a study file is relative to that file."""
    name, bracket, rest = use.partition("(")
    beside = folder / name.strip()
    return f"{beside}{bracket}{rest}" if beside.is_file() else use
