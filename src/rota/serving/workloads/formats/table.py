"""A CSV file as columns, with errors that name the line and the column."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rota.core.errors import InputError
from rota.serving.model import Floats, Ints


class Table:
    """The columns of a CSV file with a header line.

    Raises:
        InputError: no rows, or a line with another number of fields than the header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = read_rows(path, file)
        self.names = [name.strip() for name in rows[0]] if rows else []
        self.lines = [number for number, row in enumerate(rows, 1) if row][1:]
        body = [row for row in rows[1:] if row]
        if not body:
            raise InputError(str(path), "a header and no rows" if rows else "an empty file", "at least one request")
        try:
            self.columns = dict(zip(self.names, zip(*body, strict=True), strict=True))
        except ValueError:
            self._name_short_row(body)

    def require(self, *names: str) -> None:
        """Complain of the first of `names` that is no column, and name the column that comes nearest."""
        for name in names:
            if name not in self.columns:
                spare = [c for c in self.names if c not in names]
                near = difflib.get_close_matches(name, spare, n=1, cutoff=0.5)
                found = f"column {near[0]!r}" if near else f"columns {', '.join(self.names)}"
                raise InputError(f"{self.path}:1", found, f"column {name!r}" + (" (a misspelling?)" if near else ""))

    def text(self, name: str) -> Sequence[str]:
        """(n,) the column as it stands."""
        return self.columns[name]

    def numbers(self, name: str, least: float = 0.0) -> Floats:
        """(n,) the column as finite numbers, none below `least`."""
        column = self.columns[name]
        try:
            values = np.array(column, dtype=np.float64)
        except ValueError:
            row = next(i for i, text in enumerate(column) if not _is_number(text))
            raise self.error(row, name, "a number") from None
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= least)))
        if len(bad):
            raise self.error(int(bad[0]), name, f"a number >= {least:g}")
        return values

    def counts(self, name: str) -> Ints:
        """(n,) the column as whole numbers >= 0."""
        values = self.numbers(name)
        broken = np.flatnonzero((values != np.rint(values)) | (values > 2**53))
        if len(broken):
            raise self.error(int(broken[0]), name, "a whole number of tokens")
        return values.astype(np.int64)

    def ascending(self, name: str, values: Floats) -> Floats:
        """`values`, if they never fall."""
        late = np.flatnonzero(np.diff(values) < 0)
        if len(late):
            raise self.error(
                int(late[0]) + 1,
                name,
                f"arrivals in ascending order (the line before has {self.columns[name][late[0]]})",
            )
        return values

    def error(self, row: int, name: str, expected: str) -> InputError:
        """The complaint about one field."""
        return InputError(f"{self.path}:{self.lines[row]}: {name}", repr(self.columns[name][row]), expected)

    def _name_short_row(self, body: list[list[str]]) -> None:
        row = next(i for i, fields in enumerate(body) if len(fields) != len(self.names))
        last = " (is the file cut short?)" if row == len(body) - 1 else ""
        found = f"{len(body[row])} fields{last}"
        raise InputError(
            f"{self.path}:{self.lines[row]}", found, f"{len(self.names)}: {','.join(self.names)}"
        ) from None


def read_rows(path: Path, file: Iterable[str]) -> list[list[str]]:
    """All lines of an open CSV file as lists of fields; a blank line is an empty list."""
    try:
        return list(csv.reader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(str(path), f"bytes that are no CSV ({error})", "a text file in UTF-8") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
