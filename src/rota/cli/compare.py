"""`rota compare`: a study from a TOML file to a table and a report."""

from __future__ import annotations

import importlib
import json as jsonlib
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from rota.core.errors import InputError, UnknownName, optional
from rota.core.registry import DOMAINS

if TYPE_CHECKING:
    from rota.core.results import Results
    from rota.core.store import Cell
    from rota.core.timeline import Timeline

Flag = Parameter(negative=())

app = App(name="compare")


@app.default
def compare(
    study: Path | None = None,
    /,
    *,
    out: Path | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    report: Annotated[Path | None, Parameter(negative_none="no-")] = Path("report.html"),
    json: Annotated[bool, Flag] = False,
    metrics: Annotated[str | None, Parameter(name="--metrics")] = None,
    baseline: str | None = None,
    gantt: int = 3,
    progress: bool = True,
) -> None:
    """Compare policies over workloads, fleets and seeds; write an HTML report.

    Args:
        study: a study file in TOML. Left out: the study that comes with Rota.
        out: folder that keeps every finished cell, so that a study that was stopped goes on with the same command.
        jobs: processes; as many as there are processors if left out.
        ray: address of a Ray cluster that runs the cells, or `local`.
        report: where the HTML report goes.
        json: print the comparison as JSON instead of a table.
        metrics: names of the metrics to show, with commas between them, e.g. `ttft_p99,e2e_mean`.
        baseline: the policies that the others are held against, in full or a part that only one has.
        gantt: how many runs are drawn as timelines in the report, one for each choice of the first seed.
        progress: show a progress bar.
    """
    if gantt < 0:
        raise InputError("--gantt", str(gantt), "0 or more")
    if report is not None:
        optional("plotly")
    study, domain, usual = _study(study)
    name, cells = domain.cells(study)
    results = _run(name, cells, domain, out=out, jobs=jobs, ray=ray, progress=progress)
    wanted = None if metrics is None else [metric.strip() for metric in metrics.split(",")]
    _show(results, wanted, baseline or usual, report, json)
    if report is not None:
        _write(results, report, _drawn(cells, gantt, domain), wanted, baseline or usual)
        print(f"report: {report.resolve()}", file=sys.stderr if json else sys.stdout)


def _run(name: str, cells: Sequence[Cell], domain: Any, **how: Any) -> Results:
    from rota.core.study import run_study

    return run_study(name, cells, f"{domain.__name__}:execute", **how)


def _show(results: Results, metrics: list[str] | None, baseline: str | None, report: Path | None, json: bool) -> None:
    from rota.report.comparison import compare as compared
    from rota.report.table import render

    found = compared(results, metrics, baseline)
    if json:
        where = None if report is None else str(report.resolve())
        print(
            jsonlib.dumps({"study": results.name, "rows": found.to_dict(), "report": where}, allow_nan=False, indent=2)
        )
        return
    from rich.console import Console

    console = Console()
    console.print(render(found, console.width if metrics is None else None))


def _write(
    results: Results, report: Path, timelines: dict[str, Timeline], metrics: list[str] | None, baseline: str | None
) -> None:
    from rota.report import html

    html.write(results, report, timelines=timelines, metrics=metrics, baseline=baseline)


def _drawn(cells: Sequence[Cell], count: int, domain: Any) -> dict[str, Timeline]:
    """The timelines of the first runs, one for each combination of labels, named by what tells them apart."""
    first: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        first.setdefault(tuple(value for name, value in cell.labels.items() if name != "seed"), cell)
    return {_label(cell): domain.timeline(cell.spec) for cell in list(first.values())[:count]}


def _label(cell: Cell) -> str:
    return ", ".join(f"{name} {value}" if name == "seed" else str(value) for name, value in cell.labels.items())


def _study(path: Path | None) -> tuple[Path, ModuleType, str | None]:
    """A study file (the one that comes with Rota for None), the module that knows such studies, and its baseline."""
    study = importlib.import_module("rota.serving.study").default_study() if path is None else path
    head = _toml(study)
    known = {name.partition(".")[0] for name in DOMAINS}
    domain = head.get("domain", "serving")
    if domain not in known:
        raise UnknownName(f"{study}: domain", str(domain), known)
    baseline = head.get("baseline")
    if not isinstance(baseline, str | None):
        raise InputError(f"{study}: baseline", repr(baseline), "the name of a set of policies")
    return study, importlib.import_module(f"rota.{domain}.study"), baseline


def _toml(study: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(study.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(study), (error.strerror or str(error)).lower(), "a study file in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(study), f"what is not TOML: {error}", "a study file in TOML") from None
