"""Gradient norms of a run, on disk: a header, then one row of fixed width a recorded step, each with its checksum.

Rows are only ever appended, the header's note of the run's next step is written over after them, and a file that has to shrink
is replaced as a whole. So a process that is killed loses the rows it had not written yet; half a row at the end of the file is
dropped when it is read.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rota.core.atomic import atomic_write
from rota.core.errors import InputError

Floats = NDArray[np.float64]

MAGIC, VERSION = b"ROTANORM", 2
HEADER = struct.Struct("<8sIIqq")
"""Magic, version, stride in steps, steps of the run, next step (0 if unknown)."""
NEXT = struct.Struct("<q")
"""The last field of the header, the only one that is ever written over."""
ROW = struct.Struct("<qdddI")
"""Step, L1 norm, L2 norm, learning rate (NaN if unknown), CRC-32 of what stands before it."""

Row = tuple[int, float, float, float]
"""Step, L1 norm, L2 norm, learning rate (NaN if unknown)."""


class Stored(NamedTuple):
    """What a file holds: steps of the run, stride, the step after the last one seen, and the sound rows."""

    total: int
    stride: int
    next: int
    rows: list[Row]


@dataclass(frozen=True, eq=False)
class NormRecord:
    """Norms of the whole gradient at some steps of a run.

    Attributes:
        steps: (n,) ascending, from 0.
        l1, l2: (n,) norms.
        total: steps of the run.
        rates: (n,) learning rates, NaN where unknown; None if none is known.
    """

    steps: NDArray[np.int64]
    l1: Floats
    l2: Floats
    total: int
    rates: Floats | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def norms(self, power: float) -> Floats:
        """(n,) the norms that weights G^-power are made of: L1 for power 1 (Adam and its kin), L2 for power 2 (SGD).

        Raises:
            InputError: another power, or a norm that is NaN, zero or negative. Infinite ones pass.
        """
        if power not in (1, 2):
            raise InputError("power", f"{power:g}", "1 (L1 norms, Adam and its kin) or 2 (L2 norms, SGD)")
        return checked(self.l1 if power == 1 else self.l2, self.steps)

    @classmethod
    def read(cls, path: str | os.PathLike[str], total: int | None = None) -> NormRecord:
        """The record in a file; what a crash left of the last row is dropped.

        Raises:
            InputError: no such file, not a record, an empty record, or (with `total`) one of another run length.
        """
        length, _, _, rows = read_rows(path)
        if total is not None and total != length:
            raise InputError(str(path), f"the record of a run of {length} steps", f"one of {total} steps")
        if not rows:
            raise InputError(str(path), "a record without a single step", "norms of a whole run")
        steps, l1, l2, rates = (np.array(column) for column in zip(*rows, strict=True))
        return cls(steps, l1, l2, length, None if np.isnan(rates).all() else rates)


def checked(norms: Floats, steps: Sequence[int] | NDArray[np.int64]) -> Floats:
    """The norms, if all of them are above 0 (infinity included).

    Raises:
        InputError: one is not; the sentence names the step.
    """
    bad = ~(norms > 0)
    if bad.any():
        first = int(np.argmax(bad))
        raise InputError(f"gradient norm of step {steps[first]}", f"{norms[first]:g}", "a number above 0")
    return norms


def read_rows(path: str | os.PathLike[str]) -> Stored:
    """What a file holds; its rows as far as they are whole and sound.

    Raises:
        InputError: no such file, or not a record.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(str(path), (error.strerror or str(error)).lower(), "a record of gradient norms") from None
    if not data:
        raise InputError(str(path), "an empty file", "a record of gradient norms")
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise InputError(str(path), "something else", "a record of gradient norms, as GradNormRecorder writes it")
    _, version, stride, total, following = HEADER.unpack_from(data)
    if version != VERSION or stride < 1 or total < 1:
        raise InputError(str(path), f"a record of version {version}", f"version {VERSION}, which this Rota reads")
    rows = _sound(data)
    return Stored(total, stride, max(following, rows[-1][0] + 1 if rows else 0), rows)


def write_rows(path: str | os.PathLike[str], total: int, stride: int, rows: Sequence[Row], following: int = 0) -> None:
    """Put a whole record in the place of `path`, at once; `following` is the run's next step, 0 for the one after the last row."""
    with atomic_write(path) as file:
        file.write(HEADER.pack(MAGIC, VERSION, stride, total, following) + b"".join(map(_pack, rows)))


def append_rows(path: str | os.PathLike[str], rows: Sequence[Row], following: int = 0) -> None:
    """Add rows at the end of a record that is there, in one write, and then note the run's next step.

    Raises:
        InputError: the file is gone, or cannot be written.
    """
    try:
        file = open(path, "r+b", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise InputError(str(path), (error.strerror or str(error)).lower(), "the record that was begun there") from None
    with file:
        file.seek(0, os.SEEK_END)
        file.write(b"".join(map(_pack, rows)))
        file.seek(HEADER.size - NEXT.size)
        file.write(NEXT.pack(following))


def _pack(row: Row) -> bytes:
    packed = ROW.pack(*row, 0)[:-4]
    return packed + struct.pack("<I", zlib.crc32(packed))


def _sound(data: bytes) -> list[Row]:
    rows: list[Row] = []
    for at in range(HEADER.size, len(data) - ROW.size + 1, ROW.size):
        step, l1, l2, rate, check = ROW.unpack_from(data, at)
        if check != zlib.crc32(data[at : at + ROW.size - 4]) or (rows and step <= rows[-1][0]):
            break
        rows.append((step, l1, l2, rate))
    return rows
