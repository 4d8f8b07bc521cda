"""Reading traces: the format is known by the header of a table, or by the fields of the first record."""

from __future__ import annotations

import csv
import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from rota.core.errors import InputError, UnknownName
from rota.serving.model import Workload
from rota.serving.workloads.formats import Reading

READERS = {
    "aiperf": "bench:aiperf", "azure": "tables:azure", "burstgpt": "tables:burstgpt", "guidellm": "bench:guidellm",
    "jsonl": "canonical:read_lines", "mooncake": "mooncake:mooncake", "parquet": "canonical:read_parquet",
    "sharegpt": "sharegpt:sharegpt", "splitwise": "tables:splitwise", "vidur": "tables:vidur", "vllm": "bench:vllm",
}  # fmt: skip
"""Format: where its reader stands, `MODULE:FUNCTION` below `rota.serving.workloads.formats`."""

FIELDS = {
    "aiperf": ("metadata", "metrics"),
    "jsonl": ("id", "t", "in", "out"),
    "mooncake": ("timestamp", "input_length", "output_length"),
}
"""Fields by which a JSON Lines format is known."""


def read(path: str | PathLike[str], format: str | None = None, **given: Any) -> Workload:
    """The requests of a trace file.

    Args:
        path: CSV, JSON, JSON Lines or Parquet.
        format: one of `READERS`; None looks at the header or at the first record.
        given: what the reader of that format takes, e.g. `model="GPT-4"` for BurstGPT.

    Raises:
        InputError: anything wrong in the file; names file, line and field, what was found and what was expected.
        UnknownName: no such format or option.
    """
    return open_trace(path, format, **given).workload


def open_trace(path: str | PathLike[str], format: str | None = None, **given: Any) -> Reading:
    """As `read`, with what the reader left out and had to assume."""
    file = _existing(path)
    chosen = sniff(file) if format is None else format
    if chosen not in READERS:
        raise UnknownName("format", chosen, READERS)
    known = list(inspect.signature(_reader(chosen)).parameters)[1:]
    for option in given:
        if option not in known:
            raise UnknownName(f"option of format {chosen}", option, known) if known else _no_options(chosen, option)
    return _reader(chosen)(file, **given)


def options(path: str | PathLike[str], format: str | None = None) -> list[str]:
    """What the reader of a file takes besides the path."""
    file = _existing(path)
    return list(inspect.signature(_reader(sniff(file) if format is None else format)).parameters)[1:]


def sniff(path: Path) -> str:
    """The format of a file, from its suffix and its beginning.

    Raises:
        InputError: nothing known looks like it.
    """
    if path.suffix == ".parquet":
        return "parquet"
    with open(path, "rb") as file:
        head = file.read(4096).lstrip(b"\xef\xbb\xbf \r\n\t")
    if head[:1] == b"{":
        return _sniff_objects(path, head)
    if head[:1] == b"[":
        return "sharegpt"
    return _sniff_table(path, head)


def _sniff_objects(path: Path, head: bytes) -> str:
    from rota.serving.workloads.formats.lines import first_keys

    keys = first_keys(path)
    if b'"benchmarks"' in head and not set(keys) & {"t", "timestamp"}:
        return "guidellm"
    if "input_lens" in keys or b'"input_lens"' in head or (not keys and path.suffix == ".json"):
        return "vllm"
    if not keys:
        raise InputError(f"{path}:1", "broken JSON", "one JSON object a line")
    return _nearest(path, keys, FIELDS)


def _sniff_table(path: Path, head: bytes) -> str:
    from rota.serving.workloads.formats.tables import HEADERS

    line = head.splitlines()[0].decode("utf-8", errors="replace") if head else ""
    return _nearest(path, [name.strip() for name in next(csv.reader([line]), [])], HEADERS)


def _nearest(path: Path, found: list[str], known: dict[str, tuple[str, ...]]) -> str:
    score = {name: _likeness(found, fields) for name, fields in known.items()}
    best = max(score, key=lambda name: score[name])
    if score[best] < 0.5:
        listing = "; ".join(f"{name}: {', '.join(fields)}" for name, fields in known.items())
        raise InputError(f"{path}:1", f"fields {', '.join(found)}"[:120], f"the fields of a known format ({listing})")
    return best


def _likeness(found: Iterable[str], fields: tuple[str, ...]) -> float:
    """Share of `fields` that are among `found`, a misspelt one for three quarters."""
    present = list(found)
    near = [difflib.get_close_matches(field, present, n=1, cutoff=0.75) for field in fields]
    return sum(
        1.0 if field in present else 0.75 * bool(match) for field, match in zip(fields, near, strict=True)
    ) / len(fields)


def _existing(path: str | PathLike[str]) -> Path:
    file = Path(path)
    if not file.is_file():
        raise InputError(str(path), "a folder" if file.exists() else "no such file", "a trace file")
    if file.stat().st_size == 0:
        raise InputError(str(path), "an empty file", "at least one request")
    return file


def _no_options(format: str, option: str) -> InputError:
    return InputError(f"option of format {format}", repr(option), "no option")


def _reader(format: str) -> Callable[..., Reading]:
    module, _, function = READERS[format].partition(":")
    found: Callable[..., Reading] = getattr(
        importlib.import_module(f"rota.serving.workloads.formats.{module}"), function
    )
    return found
