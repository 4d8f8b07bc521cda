"""`rota plan`: the fewest instances that keep an objective."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from rota.core.errors import InputError

app = App(name="plan")
Flag = Parameter(negative=())


@app.default
def plan(
    *,
    trace: str,
    slo: str,
    model: str | None = None,
    gpu: str | None = None,
    tp: int = 1,
    instance: str | None = None,
    policies: str | None = None,
    most: int = 512,
    seeds: int = 1,
    jobs: int | None = None,
    out: Path | None = None,
    json: Annotated[bool, Flag] = False,
    progress: bool = True,
) -> None:
    """Find the fewest instances that keep a service-level objective, policy by policy.

    Args:
        trace: the path of a trace, or a workload by name.
        slo: e.g. "ttft_p99<1s, tpot_p95<50ms"; any metric of `rota simulate`.
        model, gpu, tp: what an instance is, e.g. --model llama-3-8b --gpu h100; tp GPUs together.
        instance: instead: a preset, or the instance file that `rota calibrate` wrote.
        policies: dispatch policies to plan for, with `+` and a rescheduling policy where wanted and `;` between them,
            e.g. "round-robin; freeness + llumnix". Left out: round-robin, least requests, least load, Llumnix.
        most: instances at which the search gives up.
        seeds: how many draws of a generated workload must all keep the objective.
        jobs: processes.
        out: folder that keeps finished searches, so that an interrupted plan goes on.
        json: print one JSON document.
        progress: show a progress bar.
    """
    from rota.serving.plan import plan as find
    from rota.serving.presets import find as find_instance

    if instance is None and (model is None or gpu is None):
        raise InputError("rota plan", "no instance", "--model and --gpu, or --instance")
    if instance is not None and (model is not None or gpu is not None or tp != 1):
        raise InputError("rota plan", "--instance and one of --model, --gpu, --tp", "either the one or the others")
    kind = instance if instance is not None else find_instance(str(model), str(gpu), tp)
    found = find(trace, kind, slo, _sets(policies), most=most, seeds=seeds, jobs=jobs, out=out, progress=progress)
    _print(found.to_dict() if json else found)
    best = found.best
    if not json:
        print(f"fewest: {best.instances} instance(s), {best.gpus} GPU(s), with {best.policies}")


def _print(found: Any) -> None:
    if isinstance(found, dict):
        print(jsonlib.dumps(found, indent=2))
        return
    from rich.console import Console

    Console().print(found)


def _sets(text: str | None) -> dict[str, dict[str, str]] | None:
    """`a; b + c` -> {"a": {"dispatch": "a"}, "b + c": {"dispatch": "b", "reschedule": "c"}}."""
    if text is None:
        return None
    sets = {}
    for each in text.split(";"):
        dispatch, plus, reschedule = (part.strip() for part in each.partition("+"))
        sets[each.strip()] = {"dispatch": dispatch} | ({"reschedule": reschedule} if plus else {})
    return sets
