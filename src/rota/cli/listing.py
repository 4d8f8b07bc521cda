"""`rota list`: every policy, with its domain, one line, paper and parameters."""

from __future__ import annotations

import inspect
import json as jsonlib
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

import rota
from rota.core.registry import DOMAINS, names

if TYPE_CHECKING:
    from rich.table import Table

    from rota.core.registry import Entry

app = App(name="list")


@app.default
def listing(domain: str | None = None, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """List every policy: domain, name, parameters with their defaults, one line, paper.

    Args:
        domain: only this domain, e.g. `serving.dispatch`; `serving` for all of its domains.
        json: print JSON instead of tables.
    """
    found = [entry for where in _domains(domain) for entry in rota.policies(where)]
    if json:
        print(jsonlib.dumps([record(entry) for entry in found], indent=2))
        return
    from rich.console import Console

    console = Console()
    for where, entries in groupby(found, lambda entry: entry.domain):
        console.print(table(where, list(entries)))


def record(entry: Entry) -> dict[str, Any]:
    """A policy as JSON: `domain`, `name`, `summary`, `paper` (or null), `spec`, `parameters` (`default`, `type`)."""
    parameters = {name: _parameter(p) for name, p in entry.parameters.items()}
    return {
        "domain": entry.domain,
        "name": entry.name,
        "summary": entry.summary,
        "paper": entry.paper,
        "spec": entry.spec,
        "parameters": parameters,
    }


def table(domain: str, entries: Sequence[Entry]) -> Table:
    """The policies of one domain as a terminal table."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=domain, title_justify="left", title_style="bold", expand=True)
    shown.add_column("policy and parameters", overflow="fold", ratio=2)
    shown.add_column("what it does", ratio=3)
    shown.add_column("paper", no_wrap=True)
    for entry in entries:
        shown.add_row(escape(entry.spec), escape(entry.summary), entry.paper or "")
    return shown


def _domains(wanted: str | None) -> Sequence[str]:
    within = [domain for domain in DOMAINS if wanted is None or domain.partition(".")[0] == wanted]
    if within or wanted is None:
        return within
    names(wanted)  # raises UnknownName for what is no domain
    return [wanted]


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    default = None if parameter.default is parameter.empty else parameter.default
    plain = default is None or isinstance(default, bool | int | float | str)
    kind = None if parameter.annotation is parameter.empty else inspect.formatannotation(parameter.annotation)
    return {"default": default if plain else repr(default), "type": kind}
