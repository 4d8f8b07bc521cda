"""`rota simulate`: one fleet, one workload, every metric."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="simulate")
Flag = Parameter(negative=())


@app.default
def simulate(
    workload: str,
    /,
    *,
    fleet: str = "4 x llama-3-8b/h100",
    dispatch: str = "round-robin",
    reschedule: str = "none",
    scale: str = "fixed",
    order: str = "fcfs",
    preempt: str = "recompute",
    lengths: str | None = None,
    seed: int = 0,
    perfetto: Path | None = None,
    parquet: Path | None = None,
    report: Path | None = None,
    check: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Simulate one fleet under one workload and print every metric.

    Args:
        workload: a workload by name, e.g. "llumnix(trace='L-L', rate=3.0, n=2000)", or the path of a trace.
        fleet: e.g. "16 x llama-7b/a10"; several kinds with +.
        dispatch, reschedule, scale, order, preempt: policies (see `rota list`).
        lengths: a length predictor.
        seed: root seed.
        perfetto: write the timeline as a trace for ui.perfetto.dev (gzip if it ends in .gz).
        parquet: write the timeline as Parquet.
        report: write an HTML page with the timeline.
        check: hold the outcome against the rules of serving.
        json: print one JSON document.
    """
    from rota.serving.fleets import fleet as parse_fleet
    from rota.serving.simulate import simulate as run_simulation
    from rota.serving.workloads import by_name

    policies = {
        "dispatch": dispatch,
        "reschedule": reschedule,
        "scale": scale,
        "order": order,
        "preempt": preempt,
        "lengths": lengths,
    }
    run = run_simulation(parse_fleet(fleet), by_name(workload, seed=seed), policies, seed=seed)
    if check:
        run.check()
    if perfetto is not None:
        run.timeline.to_perfetto(perfetto)
    if parquet is not None:
        run.timeline.to_parquet(parquet)
    if report is not None:
        from rota.core.atomic import atomic_write

        with atomic_write(report) as file:
            file.write(run.timeline.gantt().to_html(include_plotlyjs="inline").encode())
    metrics = {name: value for name, value in run.metrics.items() if value == value}
    if json:
        print(
            jsonlib.dumps(
                {"workload": workload, "fleet": fleet, "policies": policies, "seed": seed, "metrics": metrics}, indent=2
            )
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", title=repr(run), title_justify="left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.5g}")
    Console().print(table)
    for path in (perfetto, parquet, report):
        if path is not None:
            print(f"written: {path.resolve()}")
