"""`rota simulate`: one fleet, one workload, every metric."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from rota.serving.settings import Outcome

app = App(name="simulate")
Flag = Parameter(negative=())


@app.default
def simulate(
    workload: str,
    /,
    *,
    fleet: str = "4 x llama-3-8b/h100",
    dispatch: str | None = None,
    reschedule: str | None = None,
    scale: str | None = None,
    order: str | None = None,
    preempt: str | None = None,
    lengths: str | None = None,
    swap: str | None = None,
    priorities: str | None = None,
    residency: str | None = None,
    seed: int = 0,
    perfetto: Path | None = None,
    parquet: Path | None = None,
    report: Path | None = None,
    check: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Simulate one fleet, engine or offline batch under one workload and print every metric.

    Args:
        workload: a workload by name, e.g. "llumnix(trace='L-L', rate=3.0, n=2000)", or the path of a trace; with
            --residency, "offline(batch=64, prompt=128, output=512)".
        fleet: e.g. "16 x llama-7b/a10"; several kinds with +; with --residency a model and a device, "opt-30b/h100-80gb".
        dispatch: where a request of a fleet goes (see `rota list`); round-robin if left out.
        reschedule: which running requests move; none.
        scale: how many instances run; fixed.
        order: who goes first in an instance's queue; fcfs.
        preempt: what a request that must give up its memory does; recompute.
        lengths: a length predictor.
        swap: how KV is swapped on one engine (--fleet "1 x ...") whose priorities change, e.g. reuse or block-groups.
        priorities: how they change, e.g. "markov(frequency=0.04)" (the default) or "random(frequency=0.02)".
        residency: where the KV of an offline batch lives, e.g. "sparse-window(ratio=0.2)".
        seed: root seed.
        perfetto: write the timeline as a trace for ui.perfetto.dev (gzip if it ends in .gz).
        parquet: write the timeline as Parquet.
        report: write an HTML page with the timeline.
        check: hold the outcome against the rules of serving.
        json: print one JSON document.
    """
    from rota.serving.run import Run
    from rota.serving.settings import check_policies
    from rota.serving.settings import run as run_setting

    given = {
        "dispatch": dispatch, "reschedule": reschedule, "scale": scale, "order": order, "preempt": preempt, "lengths": lengths,
        "swap": swap, "priorities": priorities, "residency": residency,
    }  # fmt: skip
    policies = {kind: spec for kind, spec in given.items() if spec is not None}
    check_policies(policies)
    run = run_setting({"workload": workload, "fleet": fleet, "policies": policies, "seed": seed})
    if isinstance(run, Run):
        policies = dict(run.policies)
    if check:
        run.check()
    written = _write(run, perfetto, parquet, report)
    metrics = {name: value for name, value in run.metrics.items() if value == value}
    if json:
        told = {"workload": workload, "fleet": fleet, "policies": policies, "seed": seed, "metrics": metrics}
        print(jsonlib.dumps(told, indent=2))
    else:
        _show(run, metrics, written)


def _write(run: Outcome, perfetto: Path | None, parquet: Path | None, report: Path | None) -> list[Path]:
    if perfetto is not None:
        run.timeline.to_perfetto(perfetto)
    if parquet is not None:
        run.timeline.to_parquet(parquet)
    if report is not None:
        from rota.core.atomic import atomic_write

        with atomic_write(report) as file:
            file.write(run.timeline.gantt().to_html(include_plotlyjs="inline").encode())
    return [path for path in (perfetto, parquet, report) if path is not None]


def _show(run: Outcome, metrics: dict[str, float], written: list[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.5g}")
    Console().print(repr(run), table, sep="\n", highlight=False)
    for path in written:
        print(f"written: {path.resolve()}")
