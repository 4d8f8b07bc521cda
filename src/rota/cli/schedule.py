"""`rota schedule`: show, compare, refine and export learning-rate schedules."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import App, Parameter

from rota.core.atomic import atomic_write
from rota.core.errors import InputError

if TYPE_CHECKING:
    from rota.training.schedule import Floats, Schedule

app = App(name="schedule")

Json = Annotated[bool, Parameter(negative=())]
BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT, FINE = 72, 8, 2001
TENTHS = 11
MOST = 100_000_000
"""Steps of the longest run that is worked out step by step."""


@app.command
def show(spec: str, /, *, total: int = 1000, report: Path | None = None, json: Json = False) -> None:
    """Show one schedule: its factors at 0, 10, ..., 100 % of the run, their mean, and a picture.

    Args:
        spec: e.g. "warmup(0.05) >> rex()", or the path of a file that `rota schedule export --to json` wrote.
        total: steps of the run.
        report: write the picture as an HTML file.
        json: print JSON.
    """
    one = _read(spec)
    found = _figures(one, total)
    if report is not None:
        _draw({repr(one): one}, total, report)
    if json:
        print(jsonlib.dumps({"schedule": repr(one), "total": total, **found}))
        return
    print(f"{one!r} over {total} steps", picture(one, total), sep="\n\n")
    _table({"factor": found}, total)
    _written(report)


@app.command
def compare(*specs: str, total: int = 1000, report: Path = Path("schedules.html"), json: Json = False) -> None:
    """Compare schedules: their factors at 0, 10, ..., 100 % of the run and their means, and a picture as an HTML file.

    Args:
        specs: two or more, e.g. "rex()" "linear()" "warmup(0.05) >> cosine()".
        total: steps of the run.
        report: the HTML file.
        json: print JSON and write no file.
    """
    if len(specs) < 2:
        raise InputError("schedules", str(len(specs)), "two or more")
    known = {repr(one): one for one in map(_read, specs)}
    found = {name: _figures(one, total) for name, one in known.items()}
    if json:
        print(jsonlib.dumps({"total": total, "schedules": [{"schedule": name, **row} for name, row in found.items()]}))
        return
    _draw(known, total, report)
    _table(found, total)
    _written(report)


@app.command
def refine(
    record: Path,
    /,
    *,
    power: Literal[1, 2] = 2,
    smoothing: float = 0.1,
    total: int | None = None,
    out: Path | None = None,
    report: Path | None = None,
    json: Json = False,
) -> None:
    """Refine the schedule of a run from its gradient norms, and say which warm-up and polynomial fall come nearest to it.

    Args:
        record: the file that a GradNormRecorder wrote.
        power: 2 for SGD (L2 norms), 1 for Adam and its kin (L1 norms).
        smoothing: width of the median filter, as a share of the run.
        total: steps of the run that was recorded, to be held against the file's own.
        out: write the refined schedule as JSON, for the other commands and `Schedule.from_json`.
        report: write a picture as an HTML file.
        json: print JSON.
    """
    from rota.training.norm_file import NormRecord
    from rota.training.refinement import refine as refined_by
    from rota.training.refinement import warmup_polynomial

    norms = NormRecord.read(record, total=total)
    one = refined_by(norms, power=power, smoothing=smoothing, total=total)
    near = warmup_polynomial(one).schedule()
    if out is not None:
        _write(out, one.to_json() + "\n")
    if report is not None:
        _draw({"refined": one, repr(near): near}, norms.total, report)
    found = _figures(one, norms.total)
    if json:
        print(jsonlib.dumps({"schedule": repr(one), "nearest": repr(near), "total": norms.total, **found}))
        return
    print(f"refined from {len(norms)} norms, nearest: {near!r}", picture(one, norms.total), sep="\n\n")
    _table({"refined": found, repr(near): _figures(near, norms.total)}, norms.total)
    _written(out, report)


@app.command
def export(spec: str, /, *, total: int = 1000, to: Literal["csv", "json"] = "csv", out: Path | None = None) -> None:
    """Export a schedule: as CSV the factor of every step, as JSON the schedule itself and its factors.

    Args:
        spec: a schedule.
        total: steps of the run.
        to: csv or json.
        out: the file; left out, it is printed.
    """
    one = _read(spec)
    factors = _factors(one, total).tolist()
    if to == "csv":
        text = "step,factor\n" + "".join(f"{step},{factor!r}\n" for step, factor in enumerate(factors))
    else:
        text = jsonlib.dumps({**jsonlib.loads(one.to_json()), "total": total, "factors": factors}) + "\n"
    if out is None:
        print(text, end="")
        return
    _write(out, text)
    _written(out)


def picture(one: Schedule, total: int) -> str:
    """The factors over the run, in block characters: HEIGHT lines, from 0 or the lowest factor up to the highest."""
    factors = one(np.linspace(0, total, WIDTH), total)
    every = one(np.linspace(0, total, FINE), total)
    low, high = min(0.0, float(every.min())), float(every.max())
    eighths = np.round((factors - low) / (high - low or 1) * HEIGHT * 8).astype(int)
    lines = []
    for line in reversed(range(HEIGHT)):
        label = {HEIGHT - 1: f"{high:.3g}", 0: f"{low:.3g}"}.get(line, "")
        lines.append(f"{label:>8} " + "".join(BLOCKS[level] for level in np.clip(eighths - 8 * line, 0, 8)).rstrip())
    return "\n".join(lines)


def _read(spec: str) -> Schedule:
    from rota.training import Schedule, schedule

    if spec.endswith(".json"):
        try:
            return Schedule.from_json(Path(spec).read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise InputError(spec, "no text", "a schedule that `rota schedule export --to json` wrote") from None
    return schedule(spec)


def _figures(one: Schedule, total: int) -> dict[str, Any]:
    """Factors at each tenth of the run, and the mean of the factors of its steps."""
    factors = _factors(one, total)
    at = np.linspace(0, total, TENTHS)
    return {"factors": one(at, total).tolist(), "mean": float(factors.mean())}


def _factors(one: Schedule, total: int) -> Floats:
    if total > MOST:
        raise InputError("total", str(total), f"at most {MOST}")
    return one.table(total)


def _table(rows: Mapping[str, Mapping[str, Any]], total: int) -> None:
    """A line for each tenth of the run, a column for each schedule."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("of the run", "step", *(escape(name) for name in rows))
    for tenth in range(TENTHS):
        factors = (f"{row['factors'][tenth]:.6g}" for row in rows.values())
        table.add_row(f"{10 * tenth} %", f"{total * tenth / (TENTHS - 1):g}", *factors)
    table.add_section()
    table.add_row("mean", "", *(f"{row['mean']:.6g}" for row in rows.values()))
    Console().print(table)


def _draw(schedules: Mapping[str, Schedule], total: int, path: Path) -> None:
    from rota.training.pictures import figure

    _write(path, figure(schedules, total).to_html(include_plotlyjs="inline"))


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)


def _written(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            print(f"written: {path.resolve()}")
