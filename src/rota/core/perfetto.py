"""A Timeline as a Chrome trace, the JSON that Perfetto opens: one process a resource, a lane for what overlaps.

Source: "Trace Event Format" (Google, 2016): `X` complete events, `i` instants, `M` metadata; times in microseconds.
"""

from __future__ import annotations

import gzip
import heapq
import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rota.core.atomic import atomic_write

if TYPE_CHECKING:
    from rota.core.timeline import Timeline


def write(timeline: Timeline, path: str | os.PathLike[str]) -> None:
    """Write `timeline` (in seconds) to `path`, compressed if it ends in .gz. Equal timelines give equal bytes."""
    packed = os.fspath(path).endswith(".gz")
    with atomic_write(path) as target, gzip.GzipFile("", "wb", 6, target, 0) if packed else nullcontext(target) as file:
        file.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
        for number, event in enumerate(_events(timeline)):
            file.write((b",\n" if number else b"") + event.encode())
        file.write(b"\n]}\n")


def lanes(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lowest lane that is free for each interval [start, end), (n,), in order of start; lanes are numbered from 0.

    It needs as many lanes as intervals ever overlap. An empty interval holds its lane for one unit.
    """
    lane = np.zeros(len(start), dtype=np.int64)
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for row in np.lexsort((end, start)).tolist():
        while busy and busy[0][0] <= start[row]:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane[row] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (max(int(end[row]), int(start[row]) + 1), int(lane[row])))
    return lane


def _events(timeline: Timeline) -> Iterator[str]:
    start = np.rint(timeline.start * 1e9).astype(np.int64)
    end = np.rint(timeline.end * 1e9).astype(np.int64)
    for resource in np.unique(timeline.resource).tolist():
        rows = np.flatnonzero(timeline.resource == resource)
        lane = lanes(start[rows], end[rows])
        yield _metadata("process_name", resource, 0, name=timeline.resource_names[resource])
        yield _metadata("process_sort_index", resource, 0, sort_index=resource)
        for number in range(int(lane.max()) + 1):
            yield _metadata("thread_name", resource, number, name=f"lane {number}")
        for row, where in zip(rows.tolist(), lane.tolist(), strict=True):
            yield _slice(timeline, row, where, int(start[row]), int(end[row]))


def _slice(timeline: Timeline, row: int, lane: int, start: int, end: int) -> str:
    task, kind = timeline.task_names[timeline.task[row]], timeline.kind_names[timeline.kind[row]]
    figures = {name: _number(values[row]) for name, values in timeline.columns.items()}
    head = f'{{"ph":"X","dur":{_micro(end - start)}' if end > start else '{"ph":"i","s":"t"'
    place = f'"ts":{_micro(start)},"pid":{int(timeline.resource[row]) + 1},"tid":{lane + 1}'
    words = json.dumps({"name": f"{kind} {task}".strip(), "cat": kind or "work", "args": {"task": task, **figures}})
    return f"{head},{place},{words[1:]}"


def _metadata(event: str, resource: int, lane: int, **args: Any) -> str:
    return json.dumps({"ph": "M", "name": event, "pid": resource + 1, "tid": lane + 1, "args": args})


def _micro(nanoseconds: int) -> str:
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"


def _number(value: Any) -> float | int | str | None:
    number = value.item()
    return number if np.isfinite(number) else str(number)
