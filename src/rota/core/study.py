"""Studies: many independent cells of work, run over processes or a Ray cluster, resumable at any moment.

    OUT/manifest.json    what the study is: cells, seeds, versions, platform
    OUT/cells/KEY.json   one finished cell: labels, metrics, curves, seconds

A cell's file appears whole or not at all, so a study that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rota.core import workers
from rota.core.atomic import atomic_write
from rota.core.errors import InputError, Interrupted, RotaError
from rota.core.results import Labels, Results, Row

PINNED = ("rota", "numpy", "numba")


@dataclass(frozen=True)
class Cell:
    """One piece of a study: what it is called in tables, and what its function is given.

    Attributes:
        labels: e.g. `{"policy": "freeness", "seed": 3}`; `seed` is what repetitions differ by.
        spec: argument of the study's function; anything that JSON can hold.
    """

    labels: Labels
    spec: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """Name of the cell's file; equal labels and spec give equal keys, on any machine."""
        return _hash([self.labels, self.spec])

    def __str__(self) -> str:
        return "cell " + ", ".join(f"{name}={value}" for name, value in self.labels.items())


def run_study(
    name: str,
    cells: Sequence[Cell],
    execute: str,
    *,
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> Results:
    """Run every cell that `out` does not hold yet, and give the results of all, in the order of `cells`.

    Args:
        name: what the study is called.
        cells: distinct cells.
        execute: `module:function`; called with a cell's spec, gives `{"metrics": {name: number}, "curves": {name: {"x", "y"}}}`.
        out: folder that keeps finished cells; None keeps nothing.
        jobs: processes; default: as many as there are processors. 1 runs in this process.
        ray: `local`, or the address of a Ray cluster that runs the cells instead.
        progress: a bar on the terminal, if there is one.

    Raises:
        InputError: two equal cells, or `out` holds another study or was made with other versions.
        Interrupted: Ctrl-C; finished cells are kept in `out`.
        RotaError: of a cell, with its labels. Any other exception of a cell is raised with its labels as a note.
    """
    if jobs is not None and jobs < 1:
        raise InputError("jobs", str(jobs), "at least 1")
    workers.resolve(execute)
    store = _Store.open(name, cells, execute, None if out is None else Path(out))
    todo = [cell for cell in cells if cell.key not in store.rows]
    store.check_versions(todo)
    specs = [cell.spec for cell in todo]
    with _bar(name, len(cells), len(todo), progress) as advance, _stoppable(store):
        for number, answer in workers.run(execute, specs, jobs, ray):
            if isinstance(answer, Exception):
                _fail(todo[number], answer)
            store.keep(todo[number], answer)
            advance()
    return store.results(cells)


def load(out: str | os.PathLike[str]) -> Results:
    """The finished cells of a study that was run before.

    Raises:
        InputError: the folder holds no study.
    """
    manifest = _manifest(Path(out))
    if manifest is None:
        raise InputError(str(out), "no manifest.json", "the folder of a study")
    cells = [Cell(c["labels"], c["spec"]) for c in manifest["cells"]]
    return _Store(manifest, Path(out), _finished(Path(out), cells)).results(cells)


@dataclass
class _Store:
    """What is finished, in memory and in the folder."""

    manifest: dict[str, Any]
    out: Path | None
    rows: dict[str, Row]

    @classmethod
    def open(cls, name: str, cells: Sequence[Cell], execute: str, out: Path | None) -> _Store:
        manifest = _describe(name, cells, execute)
        if out is None:
            return cls(manifest, None, {})
        old = _manifest(out)
        if old is None:
            _create(out)
            with atomic_write(out / "manifest.json", "w") as file:
                file.write(json.dumps(manifest, indent=1) + "\n")
        elif old["hash"] != manifest["hash"]:
            raise InputError(
                str(out), f"another study ({old['study']}, {old['hash']})", f"an empty folder, or {manifest['hash']}"
            )
        return cls(old or manifest, out, _finished(out, cells))

    def check_versions(self, todo: Sequence[Cell]) -> None:
        old, now = self.manifest["versions"], _versions()
        other = [name for name in PINNED if old[name] != now[name]]
        if todo and self.rows and other:
            found = ", ".join(f"{name} {old[name]}" for name in other)
            raise InputError(
                str(self.out), f"cells made with {found}", ", ".join(f"{name} {now[name]}" for name in other)
            )

    def keep(self, cell: Cell, text: str) -> None:
        whole = json.dumps({"key": cell.key, "labels": cell.labels, **json.loads(text)})
        if self.out is not None:
            with atomic_write(self.out / "cells" / f"{cell.key}.json", "w") as file:
                file.write(whole + "\n")
        self.rows[cell.key] = Row.parse(whole, cell.labels)

    def results(self, cells: Sequence[Cell]) -> Results:
        return Results(self.manifest["study"], [self.rows[c.key] for c in cells if c.key in self.rows], self.manifest)


def _describe(name: str, cells: Sequence[Cell], execute: str) -> dict[str, Any]:
    keys = [cell.key for cell in cells]
    count = Counter(str(cell) for cell in cells)
    if len(count) < len(cells):
        raise InputError(f"study {name}", f"two of {count.most_common(1)[0][0]}", "cells with distinct labels")
    return {
        "study": name,
        "hash": _hash([name, execute, keys]),
        "execute": execute,
        "seeds": sorted({cell.labels["seed"] for cell in cells if "seed" in cell.labels}, key=str),
        "versions": _versions(),
        "platform": platform.platform(),
        "cells": [{"key": cell.key, "labels": cell.labels, "spec": cell.spec} for cell in cells],
    }


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in PINNED}}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _create(out: Path) -> None:
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(out), (error.strerror or str(error)).lower(), "a folder that can be written") from None


def _manifest(out: Path) -> dict[str, Any] | None:
    path = out / "manifest.json"
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return manifest if {"study", "hash", "versions", "cells"} <= manifest.keys() else _foreign(path)
    except (ValueError, AttributeError):
        return _foreign(path)


def _foreign(path: Path) -> NoReturn:
    raise InputError(str(path), "something else", "the manifest of a study; choose another folder")


def _finished(out: Path, cells: Sequence[Cell]) -> dict[str, Row]:
    rows = {}
    for cell in cells:
        path = out / "cells" / f"{cell.key}.json"
        try:
            rows[cell.key] = Row.parse(path.read_text(encoding="utf-8"), cell.labels)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # missing, half-written or spoilt: run again
    return rows


def _fail(cell: Cell, error: Exception) -> NoReturn:
    if isinstance(error, InputError):
        raise type(error)(f"{cell}: {error.where}", error.found, error.expected) from error
    if isinstance(error, RotaError):
        raise RotaError(f"{cell}: {error}") from error
    error.add_note(f"in {cell}")
    raise error


@contextmanager
def _stoppable(store: _Store) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        done = f"stopped with {len(store.rows)} of {len(store.manifest['cells'])} cells finished"
        kept = (
            f"kept in {store.out}; the same command goes on from there"
            if store.out
            else "not kept: no folder was given"
        )
        raise Interrupted(f"{done}, {kept}") from None


@contextmanager
def _bar(name: str, cells: int, todo: int, wanted: bool) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task(name, total=cells, completed=cells - todo)
        yield lambda: bar.advance(task)
