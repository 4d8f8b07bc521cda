"""The one record: who (task) ran where (resource), from when to when, doing what (kind)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rota.core import perfetto
from rota.core.atomic import atomic_write
from rota.core.errors import InputError, UnknownName, optional

if TYPE_CHECKING:
    import polars

CODES = ("task", "resource", "kind")
TIMES = ("start", "end")


@dataclass(frozen=True, eq=False)
class Timeline:
    """Rows of work, as columns. Nothing in it can be changed.

    Attributes:
        task, resource, kind: (n,) int64 positions in the three tables of names.
        start, end: (n,) float64, seconds or the time unit of the field; start <= end.
        task_names, resource_names, kind_names: the tables.
        columns: further (n,) columns of numbers, by name.

    Raises:
        InputError: unequal lengths, a code outside its table, a time that is NaN, or an end before its start.
    """

    task: NDArray[np.int64]
    resource: NDArray[np.int64]
    kind: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    task_names: Sequence[str]
    resource_names: Sequence[str]
    kind_names: Sequence[str]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in CODES + TIMES:
            object.__setattr__(self, name, _frozen(getattr(self, name), np.int64 if name in CODES else np.float64))
        object.__setattr__(self, "columns", {name: _frozen(values) for name, values in self.columns.items()})
        for name, values in self._all_columns():
            if values.shape != (len(self),):
                raise InputError(f"timeline column {name}", f"shape {values.shape}", f"({len(self)},)")
        for name in CODES:
            codes = getattr(self, name)
            _check(name, codes, (codes >= 0) & (codes < len(self.names(name))), "the position of a name in its table")
        _check("end", self.end, self.start <= self.end, "a time at or after the start")

    def __len__(self) -> int:
        return len(self.start)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timeline) or self.columns.keys() != other.columns.keys():
            return NotImplemented if not isinstance(other, Timeline) else False
        same_names = all(list(self.names(n)) == list(other.names(n)) for n in CODES)
        mine, theirs = dict(self._all_columns()), dict(other._all_columns())
        return same_names and all(np.array_equal(mine[n], theirs[n], equal_nan=mine[n].dtype.kind == "f") for n in mine)

    def names(self, column: str) -> Sequence[str]:
        """The table of names of `task`, `resource` or `kind`."""
        table: Sequence[str] = getattr(self, f"{column}_names")
        return table

    @property
    def span(self) -> tuple[float, float]:
        """First start and last end; (0, 0) if there is no row."""
        return (float(self.start.min()), float(self.end.max())) if len(self) else (0.0, 0.0)

    def rows(self) -> Iterator[tuple[str, str, str, float, float]]:
        """(task, resource, kind, start, end) of every row, by name."""
        tables = (self.task_names, self.resource_names, self.kind_names)
        for t, r, k, start, end in zip(*(getattr(self, n).tolist() for n in CODES + TIMES), strict=True):
            yield tables[0][t], tables[1][r], tables[2][k], start, end

    def where(
        self, *, kind: str | Collection[str] | None = None, resource: str | Collection[str] | None = None,
        task: str | Collection[str] | None = None,
    ) -> Timeline:  # fmt: skip
        """The rows of the named kinds, resources and tasks, with the same tables of names.

        Raises:
            UnknownName: a name that is in no table.
        """
        keep = np.ones(len(self), dtype=bool)
        for column, chosen in (("kind", kind), ("resource", resource), ("task", task)):
            if chosen is not None:
                keep &= np.isin(getattr(self, column), self._codes(column, chosen))
        return self.take(np.flatnonzero(keep))

    def take(self, rows: ArrayLike) -> Timeline:
        """The chosen rows (indices, or a mask), in that order."""
        index = np.asarray(rows)
        kept: dict[str, Any] = {name: getattr(self, name)[index] for name in CODES + TIMES}
        return replace(self, **kept, columns={name: values[index] for name, values in self.columns.items()})

    def to_polars(self) -> polars.DataFrame:
        """A data frame: task, resource and kind by name, start, end, and the further columns."""
        pl = optional("polars")
        named = {n: pl.Series(n, list(self.names(n)), dtype=pl.String).gather(getattr(self, n)) for n in CODES}
        return pl.DataFrame({**named, "start": self.start, "end": self.end, **self.columns})

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the data frame as Parquet."""
        frame = self.to_polars()
        with atomic_write(path) as file:
            frame.write_parquet(file)

    def to_perfetto(self, path: str | os.PathLike[str]) -> None:
        """Write a trace for https://ui.perfetto.dev (compressed if `path` ends in .gz): one process a resource."""
        perfetto.write(self, path)

    def gantt(self, max_rows: int = 4000) -> Any:
        """A Plotly figure: one lane a resource, one colour a kind."""
        return importlib.import_module("rota.report.gantt").gantt(self, max_rows=max_rows)

    def _repr_html_(self) -> str:
        busy = np.bincount(self.kind, self.end - self.start, len(self.kind_names)).tolist()
        count = np.bincount(self.kind, minlength=len(self.kind_names)).tolist()
        kinds = zip(map(escape, self.kind_names), count, busy, strict=True)
        lines = "".join(f"<tr><td>{name}</td><td>{n:,}</td><td>{time:g}</td></tr>" for name, n, time in kinds)
        return f"<b>{self}</b><table><tr><th>kind</th><th>rows</th><th>time in all</th></tr>{lines}</table>"

    def __str__(self) -> str:
        tasks, resources = len(self.task_names), len(self.resource_names)
        first, last = self.span
        return f"Timeline: {len(self):,} rows, {tasks:,} tasks, {resources:,} resources, {first:g} to {last:g}"

    def _all_columns(self) -> list[tuple[str, NDArray[Any]]]:
        return [*((n, getattr(self, n)) for n in CODES + TIMES), *self.columns.items()]

    def _codes(self, column: str, chosen: str | Collection[str]) -> list[int]:
        table = self.names(column)
        try:
            return [table.index(name) for name in ([chosen] if isinstance(chosen, str) else chosen)]
        except ValueError:
            unknown = next(n for n in ([chosen] if isinstance(chosen, str) else chosen) if n not in table)
            raise UnknownName(f"timeline {column}", unknown, list(table[:1000])) from None


class Recorder:
    """Takes down rows of work as they happen; `freeze` makes the Timeline.

    Args:
        columns: names of the further columns, float64 (or a mapping from name to dtype).
    """

    def __init__(self, columns: Collection[str] | Mapping[str, Any] = ()) -> None:
        extra = dict(columns) if isinstance(columns, Mapping) else dict.fromkeys(columns, np.float64)
        types = {**dict.fromkeys(CODES, np.int64), **dict.fromkeys(TIMES, np.float64), **extra}
        self._extra = tuple(extra)
        self._count = 0
        self._data: dict[str, NDArray[Any]] = {name: np.empty(1024, dtype) for name, dtype in types.items()}
        self._tables: dict[str, Sequence[str]] = {name: [] for name in CODES}
        self._codes: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return self._count

    def names(self, **tables: Sequence[str]) -> None:
        """Give whole tables of names beforehand, e.g. `names(resource=["gpu-0", "gpu-1"])`; codes are positions."""
        for column, names in tables.items():
            if column not in CODES:
                raise UnknownName("table of names", column, CODES)
            if len(self._tables[column]):
                raise InputError(f"names of {column}", "a second table", "one table, given before the first row")
            self._tables[column] = names

    def add(self, task: str, resource: str, kind: str, start: float, end: float, **columns: float) -> None:
        """Append one row, by names; a new name enters its table."""
        self._reserve(1, columns)
        values = (self._code("task", task), self._code("resource", resource), self._code("kind", kind), start, end)
        for name, value in zip(CODES + TIMES, values, strict=True):
            self._data[name][self._count] = value
        for name in self._extra:
            self._data[name][self._count] = columns[name]
        self._count += 1

    def extend(
        self, task: ArrayLike, resource: ArrayLike, kind: ArrayLike,
        start: ArrayLike, end: ArrayLike, **columns: ArrayLike,
    ) -> None:  # fmt: skip
        """Append many rows, by codes; each argument is an array of n, or a scalar for all of them."""
        given = {**dict(zip(CODES + TIMES, (task, resource, kind, start, end), strict=True)), **columns}
        shape = np.broadcast_shapes((1,), *(np.shape(value) for value in given.values()))
        last = self._count + shape[0]
        self._reserve(shape[0], columns)
        for name, value in given.items():
            self._data[name][self._count : last] = value
        self._count = last

    def freeze(self) -> Timeline:
        """The Timeline of the rows so far; the recorder may go on."""
        data = {name: values[: self._count].copy() for name, values in self._data.items()}
        tables = {f"{name}_names": tuple(t) if isinstance(t, list) else t for name, t in self._tables.items()}
        return Timeline(**{name: data.pop(name) for name in CODES + TIMES}, **tables, columns=data)  # type: ignore[arg-type]

    def _reserve(self, count: int, columns: Mapping[str, Any]) -> None:
        if len(columns) != len(self._extra) or any(name not in columns for name in self._extra):
            raise InputError("timeline row", f"columns {sorted(columns)}", f"{sorted(self._extra)}")
        if self._count + count > len(self._data["start"]):
            room = max(self._count + count, 2 * len(self._data["start"]))
            for values in self._data.values():
                values.resize(room, refcheck=False)

    def _code(self, column: str, name: str) -> int:
        codes, table = self._codes.get(column), self._tables[column]
        if codes is None or not isinstance(table, list):
            table = self._tables[column] = list(table)
            codes = self._codes[column] = {known: i for i, known in enumerate(table)}
        if name not in codes:
            codes[name] = len(table)
            table.append(name)
        return codes[name]


class Numbered(Sequence[str]):
    """The names `PREFIX0`, `PREFIX1`, ... up to `count`, made only when looked at: a table for a million tasks."""

    def __init__(self, prefix: str, count: int) -> None:
        self.prefix, self._numbers = prefix, range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        numbers = self._numbers[index]
        return f"{self.prefix}{numbers}" if isinstance(numbers, int) else tuple(f"{self.prefix}{i}" for i in numbers)


def _frozen(values: ArrayLike, dtype: Any = None) -> NDArray[Any]:
    array = np.asarray(values, dtype).view()
    array.flags.writeable = False
    return array


def _check(column: str, values: NDArray[Any], good: NDArray[np.bool_], expected: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise InputError(f"timeline {column}, row {bad[0]}", f"{values[bad[0]]}", expected)
