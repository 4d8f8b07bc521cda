"""Measurements from a file: CSV with a header, or JSON lines; which of the three forms it is, the columns say.

Times are seconds, or milliseconds where the column's name ends in `_ms`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rota.core.errors import InputError
from rota.serving.measurements import ClientLog, LoadTable, Measurements, StepLog
from rota.serving.model import Floats

ALIASES = {
    "prompt": ("prompt", "prompt_tokens", "input_length", "input_tokens"),
    "output": ("output", "output_tokens", "output_length"),
    "arrival": ("arrival", "arrival_time", "timestamp"),
    "ttft": ("ttft", "silicon_ttft", "mean_ttft"),
    "tpot": ("tpot", "silicon_tpot", "mean_tpot"),
    "e2e": ("e2e", "latency", "e2e_latency"),
    "concurrency": ("concurrency", "batch_size"),
    "seconds": ("seconds", "duration"),
}
"""Names that a column may have, by the name used here."""

FORMS = {
    "step log": ("decoding", "kv_tokens", "prefill_tokens", "seconds"),
    "client log": ("arrival", "prompt", "output", "ttft"),
    "load table": ("isl", "osl", "concurrency", "ttft", "tpot"),
}
"""Columns that each form needs."""

Row = tuple[int, dict[str, Any]]


def read_measurements(path: str | Path) -> Measurements:
    """The step log, client log or load table in a CSV or JSONL file.

    Raises:
        InputError: no such file, no rows, columns of no known form, or a value that is no number >= 0; names file and line.
    """
    rows = list(_rows(Path(path)))
    if not rows:
        raise InputError(str(path), "no rows", "measurements, one a line")
    columns = set(rows[0][1])
    for form, needed in FORMS.items():
        if all(_find(name, columns) for name in needed):
            return _BUILD[form](_Table(str(path), rows))
    known = "; ".join(f"{', '.join(needed)} (a {form})" for form, needed in FORMS.items())
    raise InputError(str(path), f"columns {', '.join(sorted(columns))}", f"at least the columns {known}")


class _Table:
    """Rows with their line numbers, read column by column."""

    def __init__(self, path: str, rows: list[Row]) -> None:
        self._path, self._rows, self._names = path, rows, set(rows[0][1])

    def has(self, name: str) -> bool:
        return _find(name, self._names) is not None

    def __getitem__(self, name: str) -> Floats:
        column = _find(name, self._names)
        assert column is not None
        scale = 1e-3 if column.endswith("_ms") else 1.0
        return np.array([scale * self._number(line, row, column) for line, row in self._rows])

    def _number(self, line: int, row: dict[str, Any], column: str) -> float:
        value = row.get(column)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = float("nan")
        if not (np.isfinite(number) and number >= 0):
            found = "nothing" if value is None else repr(value)
            raise InputError(f"{self._path}:{line}: {column}", found, "a number >= 0")
        return number


def _step_log(table: _Table) -> StepLog:
    prefill = table["prefill_tokens"]
    prompts = table["prompts"] if table.has("prompts") else (prefill > 0).astype(float)
    pairs = table["pairs"] if table.has("pairs") else prefill**2 / (2 * np.maximum(prompts, 1))
    return StepLog(table["decoding"], table["kv_tokens"], prefill, pairs, prompts, table["seconds"])


def _client_log(table: _Table) -> ClientLog:
    output, ttft = np.maximum(table["output"], 1), table["ttft"]
    if table.has("tpot"):
        tpot = table["tpot"]
    elif table.has("e2e"):
        tpot = np.maximum(table["e2e"] - ttft, 0) / np.maximum(output - 1, 1)
    else:
        raise InputError(table._path, "neither tpot nor e2e", "one of these columns in a client log")
    arrival = table["arrival"]
    return ClientLog(arrival - arrival.min(), np.maximum(table["prompt"], 1), output, ttft, tpot)


def _load_table(table: _Table) -> LoadTable:
    return LoadTable(table["isl"], table["osl"], table["concurrency"], table["ttft"], table["tpot"])


_BUILD: dict[str, Callable[[_Table], Measurements]] = {
    "step log": _step_log,
    "client log": _client_log,
    "load table": _load_table,
}


def _rows(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(
            str(path), (error.strerror or "an unreadable file").lower(), "a CSV or JSONL file of measurements"
        ) from None
    except UnicodeDecodeError:
        raise InputError(str(path), "bytes that are not text", "a CSV or JSONL file of measurements") from None
    lines = text.splitlines()
    if text.lstrip().startswith("{"):
        yield from _json_rows(path, lines)
    else:
        reader = csv.DictReader(lines)
        for row in reader:
            yield reader.line_num, {k.strip(): v for k, v in row.items() if k is not None}


def _json_rows(path: Path, lines: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}", repr(line[:40]), "one JSON object a line")
        yield number, row


def _find(name: str, columns: set[str]) -> str | None:
    tried = (alias + ending for alias in ALIASES.get(name, (name,)) for ending in ("", "_ms"))
    return next((column for column in tried if column in columns), None)
