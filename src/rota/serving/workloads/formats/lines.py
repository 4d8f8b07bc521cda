"""A JSON Lines file as typed records, with errors that name the line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from rota.core.errors import InputError, UnknownName

T = TypeVar("T")


def decode(path: Path, kind: type[T]) -> list[T]:
    """Every line of a file as a `kind` (a msgspec Struct); blank lines at the end are ignored.

    Raises:
        InputError: an empty file, broken JSON, a field that is missing or of the wrong type; names the line.
    """
    data = path.read_bytes()
    if not data.strip():
        raise InputError(str(path), "an empty file", "at least one request")
    try:
        return msgspec.json.Decoder(kind).decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        _name_bad_line(path, data, kind)
        raise


def first_keys(path: Path) -> list[str]:
    """The field names of the first line, if it is a JSON object."""
    with open(path, "rb") as file:
        line = next((text for text in file if text.strip()), b"")
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return list(record) if isinstance(record, dict) else []


def _name_bad_line(path: Path, data: bytes, kind: type) -> None:
    decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(kind)
    lines = data.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            decoder.decode(line)
        except msgspec.ValidationError as error:
            _name_bad_field(f"{path}:{number}", str(error), line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            cut = " (is the file cut short?)" if number == len(lines) else ""
            raise InputError(f"{path}:{number}", f"broken JSON ({error}){cut}", "one JSON object a line") from None


def _name_bad_field(where: str, message: str, line: bytes) -> None:
    unknown = re.fullmatch(r"Object contains unknown field `(.*?)`(.*)", message)
    missing = re.fullmatch(r"Object missing required field `(.*?)`.*", message)
    if missing:
        present = list(msgspec.json.decode(line))
        near = UnknownName(where, missing[1], present).expected.rpartition("(")[2] if present else ""
        hint = f" ({near}" if near.startswith("did you mean") else ""
        raise InputError(where, f"fields {', '.join(present)}{hint}", f"field {missing[1]!r}")
    if unknown:
        raise InputError(where, f"field {unknown[1]!r}", "only fields of the format")
    reason, _, place = message.partition(" - at `$.")
    raise InputError(f"{where}: {place.rstrip('`')}" if place else where, *_halves(reason))


def _halves(reason: str) -> tuple[str, str]:
    wanted = re.fullmatch(r"Expected `(.*)`, got `(.*)`", reason)
    if wanted:
        return wanted[2], wanted[1]
    bound = re.fullmatch(r"Expected `(\w+)` (.*)", reason)
    return ("a value out of range", f"{bound[1]} {bound[2]}") if bound else (reason, "a record of the format")
