"""The folder of a study: what it is, and what of it is finished.

    OUT/manifest.json    cells, seeds, versions, platform
    OUT/cells/KEY.json   one finished cell: labels, metrics, curves, seconds

A file appears whole or not at all; a cell's file that cannot be read counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from rota.core.atomic import atomic_write
from rota.core.errors import InputError
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
        try:
            return _hash([self.labels, self.spec])
        except TypeError as error:
            raise InputError(f"{self}: spec", str(error), "what JSON can hold") from None

    def __str__(self) -> str:
        return "cell " + ", ".join(f"{name}={value}" for name, value in self.labels.items())


@dataclass
class Store:
    """What is finished, in memory and in the folder."""

    manifest: dict[str, Any]
    out: Path | None
    rows: dict[str, Row]

    @classmethod
    def open(cls, name: str, cells: Sequence[Cell], execute: str, out: Path | None) -> Store:
        """The store of this study, with the cells that `out` holds of it.

        Raises:
            InputError: two cells with equal labels; `out` cannot be written, holds another study, or was made with
                other versions and is not finished.
        """
        manifest = _describe(name, cells, execute)
        if out is None:
            return cls(manifest, None, {})
        old = _manifest(out)
        if old and old["hash"] != manifest["hash"]:
            found = f"another study ({old['study']}, hash {old['hash']})"
            raise InputError(str(out), found, f"an empty folder, or {name}, hash {manifest['hash']}")
        rows = _finished(out, cells) if old else {}
        if old and rows:
            _same_versions(out, old["versions"], manifest["versions"], len(rows) == len(cells))
            return cls(old, out, rows)
        _write_manifest(out, manifest)
        return cls(manifest, out, {})

    @classmethod
    def read(cls, out: Path) -> Store:
        """The store in `out`, whatever study it is. Raises InputError if there is none."""
        manifest = _manifest(out)
        if manifest is None:
            raise InputError(str(out), "no manifest.json", "the folder of a study")
        return cls(manifest, out, _finished(out, [Cell(c["labels"], c["spec"]) for c in manifest["cells"]]))

    def keep(self, cell: Cell, text: str) -> None:
        """Take in the JSON that a worker gave for `cell`."""
        whole = json.dumps({"key": cell.key, "labels": cell.labels, **json.loads(text)})
        if self.out is not None:
            with atomic_write(self.out / "cells" / f"{cell.key}.json", "w") as file:
                file.write(whole + "\n")
        self.rows[cell.key] = Row.parse(whole, cell.labels)

    def results(self) -> Results:
        """Finished cells, in the order of the manifest."""
        rows = (self.rows.get(cell["key"]) for cell in self.manifest["cells"])
        return Results(self.manifest["study"], [row for row in rows if row is not None], self.manifest)

    def __str__(self) -> str:
        return f"{len(self.rows)} of {len(self.manifest['cells'])} cells"


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


def _same_versions(out: Path, old: dict[str, str], now: dict[str, str | None], complete: bool) -> None:
    other = [name for name in PINNED if old.get(name) != now[name]]
    if other and not complete:
        made, have = (", ".join(f"{name} {of.get(name)}" for name in other) for of in (old, now))
        raise InputError(str(out), f"cells made with {made}", f"{have}, as here; choose another folder")


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(out), (error.strerror or str(error)).lower(), "a folder that can be written") from None
    with atomic_write(out / "manifest.json", "w") as file:
        file.write(json.dumps(manifest, indent=1) + "\n")


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
