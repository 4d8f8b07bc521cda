"""`rota reproduce`: what a published system claims, beside what this machine measures."""

from __future__ import annotations

import importlib
import json as jsonlib
import pkgutil
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

import rota
from rota.core.errors import InputError, UnknownName

if TYPE_CHECKING:
    from rota.reproduce.claims import Reproduction

Flag = Parameter(negative=())

app = App(name="reproduce")


@app.default
def reproduce(
    name: str | None = None,
    /,
    *,
    seeds: int = 5,
    quick: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Measure a published claim on this machine, beside what its authors report.

    A claim that does not hold is a result, not an error: the exit status is 0.

    Args:
        name: of the system; left out, all that can be reproduced are listed.
        seeds: repetitions behind each interval.
        quick: a smaller experiment, to see that it works.
        json: print JSON instead of a table.
    """
    if name is None:
        _print_list(json)
        return
    if seeds < 1:
        raise InputError("--seeds", str(seeds), "at least 1")
    outcome = measure(name, seeds, quick, _progress)
    if json:
        print(outcome.to_json())
        return
    from rich.console import Console

    Console().print(outcome)


def measure(name: str, seeds: int, quick: bool, progress: Callable[[str], None] | None = None) -> Reproduction:
    """Run the experiment of one system.

    Raises:
        UnknownName: no such system.
    """
    from rota.reproduce.claims import Reproduction

    known = systems()
    if name not in known:
        raise UnknownName("system", name, known)
    module, began = known[name], time.perf_counter()
    claims = module.run(seeds=seeds, quick=quick, progress=progress)
    return Reproduction(name, module.PAPER, claims, seeds, time.perf_counter() - began, rota.__version__)


def systems() -> dict[str, ModuleType]:
    """The modules of `rota.reproduce` that hold an experiment (they have `PAPER`, `CLAIMS` and `run`), by name."""
    package = importlib.import_module("rota.reproduce")
    modules = (
        importlib.import_module(f"rota.reproduce.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    )
    found = {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in modules}
    return {name: module for name, module in found.items() if hasattr(module, "PAPER")}


def _print_list(json: bool) -> None:
    known = systems()
    if json:
        rows = [{"name": name, "paper": module.PAPER, "claims": len(module.CLAIMS)} for name, module in known.items()]
        print(jsonlib.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "claims", "paper", title="rota reproduce NAME", title_justify="left")
    for name, module in known.items():
        table.add_row(name, str(len(module.CLAIMS)), escape(module.PAPER))
    Console().print(table)


def _progress(step: str) -> None:
    print(step, file=sys.stderr, flush=True)
