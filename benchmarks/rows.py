"""What every benchmark prints: one row a question, as a table or as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One answer.

    Attributes:
        question: what was asked.
        against: what it is held against: a peer with its version, a measurement, or nothing but ourselves.
        value: the figure; None where it could not be had.
        unit: of the figure; `x` for a ratio.
        goal: what it should be, as text, e.g. `>= 30`; empty where it is only reported.
        met: whether it is; None without goal or figure.
        detail: the figures behind it, or why there is none.
    """

    question: str
    against: str
    value: float | None
    unit: str
    goal: str
    met: bool | None
    detail: str

    @classmethod
    def judged(cls, question: str, against: str, value: float, unit: str, goal: str, detail: str) -> Row:
        """A row whose `met` follows from a goal such as `>= 30` or `<= 5`."""
        sign, _, bound = goal.partition(" ")
        met = value >= float(bound) if sign == ">=" else value <= float(bound)
        return cls(question, against, float(f"{value:.4g}"), unit, goal, bool(met), detail)


def show(rows: Sequence[Row], as_json: bool) -> None:
    """Print the rows."""
    if as_json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "machine": machine()}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=machine(), show_lines=True)
    for column in ("question", "against", "value", "goal", "met", "detail"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for row in rows:
        value = "none" if row.value is None else f"{row.value:g} {row.unit}"
        met = {True: "yes", False: "no", None: ""}[row.met]
        table.add_row(row.question, row.against, value, row.goal, met, row.detail)
    Console(width=160).print(table)


def machine() -> str:
    """This machine in words, with how busy it was."""
    busy = f"load average {os.getloadavg()[0]:.1f}"
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}; {busy}"
    )


@dataclass(frozen=True)
class Time:
    """Least wall and processor seconds of several calls: the least is what other work on the machine disturbs least."""

    wall: float
    processor: float


def timed(call: Callable[[], T], repeat: int) -> tuple[Time, T]:
    """Time of `repeat` calls, and what the last one gave."""
    walls, processors = [], []
    for _ in range(repeat):
        start = perf_counter(), process_time()
        result = call()
        walls.append(perf_counter() - start[0])
        processors.append(process_time() - start[1])
    return Time(min(walls), min(processors)), result
