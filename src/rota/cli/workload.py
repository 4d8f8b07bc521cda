"""`rota workload`: describe, fit, generate, convert and fetch traces of requests."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from rota.core.errors import InputError

if TYPE_CHECKING:
    from rota.serving.workloads.formats import Reading

app = App(name="workload")

Json = Annotated[bool, Parameter(negative=())]


@app.command
def describe(trace: str, /, *, plot: Path | None = None, json: Json = False) -> None:
    """Say what is in a trace: rate, burstiness, lengths, sessions, prefix reuse.

    Args:
        trace: a file, or a workload by name, e.g. `azure-2023-conv` or `llumnix(trace="L-L")`.
        plot: write a picture of it as an HTML file.
        json: print JSON.
    """
    from rota.serving.workloads.describe import describe as figures
    from rota.serving.workloads.describe import figure

    reading = _open(trace)
    if plot is not None:
        _write_text(plot, figure(reading.workload).to_html(include_plotlyjs=True))
    found = figures(reading)
    _show(found.to_dict() | {"format": reading.format or None}, json, found)


@app.command
def fit(
    trace: str,
    /,
    *,
    out: Path | None = None,
    arrivals: str = "best",
    seeds: int = 5,
    json: Json = False,
) -> None:
    """Fit a generator to a trace, and say how near what it makes comes to the trace.

    Args:
        trace: a file, or a workload by name.
        out: write the fitted numbers here, for `rota workload generate`.
        arrivals: `best`, `gamma` (piece-wise Gamma), `chain` (empirical gaps) or `batches`.
        seeds: how many regenerated traces the distances are averaged over.
        json: print JSON.
    """
    from rota.serving.workloads.fit import fit as fit_to
    from rota.serving.workloads.goodness import average, goodness

    if seeds < 1:
        raise InputError("--seeds", str(seeds), "at least 1")
    workload = _open(trace).workload
    model = fit_to(workload, arrivals=arrivals, source=trace)
    if out is not None:
        model.save(out)
    near = average([goodness(workload, model.generate(seed=seed)) for seed in range(seeds)])
    kind = type(model.arrivals).__name__ if not model.parts else f"{len(model.parts)} streams"
    _show(
        {"name": model.name, "arrivals": kind, "out": None if out is None else str(out), **near.to_dict()}, json, near
    )


@app.command
def generate(
    workload: str,
    /,
    *,
    out: Path | None = None,
    n: int | None = None,
    rate: float | None = None,
    seed: int = 0,
    format: str | None = None,
    json: Json = False,
) -> None:
    """Make requests from a generator, a fitted model, or a file that `rota workload fit` wrote.

    Args:
        workload: e.g. `azure-2023-conv`, `burstgpt(n=20000, rate=2)`, `fitted.json`; `rota workload names` lists them.
        out: `.jsonl` or `.parquet` keeps everything, `.csv` is Azure's format; without it, the requests are described.
        n: requests.
        rate: requests a second.
        seed: root seed.
        format: `azure`, `jsonl`, `mooncake`, `parquet` or `vidur`; None: by the suffix.
        json: print JSON.
    """
    from rota.serving.workloads import write
    from rota.serving.workloads.describe import describe as figures

    made = _make(workload, n, rate, seed)
    if out is not None:
        write(made, out, format)
    found = figures(made)
    _show(found.to_dict() | {"out": None if out is None else str(out)}, json, found)


@app.command
def convert(trace: str, out: Path, /, *, format: str | None = None, json: Json = False) -> None:
    """Write a trace in another format.

    Args:
        trace: a file of any known format, with a part of it in brackets if wanted: `trace.csv(start=60, end=120)`.
        out: the target.
        format: `azure`, `jsonl`, `mooncake`, `parquet` or `vidur`; None: by the suffix.
        json: print JSON.
    """
    from rota.serving.workloads import write

    reading = _open(trace)
    write(reading.workload, out, format)
    left_out = "".join(f", {count} {reason} left out" for reason, count in reading.left_out.items())
    record = {"out": str(out), "requests": len(reading.workload), "left_out": dict(reading.left_out)}
    _show(record, json, f"{out}: {len(reading.workload):,} requests{left_out}")


@app.command
def fetch(name: str | None = None, /, *, folder: Path = Path(), json: Json = False) -> None:
    """Download a public trace from its public home, going on where a download broke off.

    Args:
        name: of the trace; without it, the list of them.
        folder: where it goes.
        json: print JSON.
    """
    from dataclasses import asdict

    from rota.serving.workloads.fetch import HOMES
    from rota.serving.workloads.fetch import fetch as download

    if name is None:
        lines = "\n".join(f"{key:26} {home.licence:12} {home.url}" for key, home in HOMES.items())
        _show({key: asdict(home) for key, home in HOMES.items()}, json, lines)
        return
    found = download(name, folder, progress=None if json else _progress)
    checked = "as expected" if found.checked else "no known one to compare with"
    record = {**asdict(found), "path": str(found.path)}
    _show(record, json, f"{found.path}: {found.size:,} bytes, SHA-256 {found.sha256} ({checked})")


@app.command
def names(*, json: Json = False) -> None:
    """List the workloads that need no file: generators, and fitted models of public traces.

    Args:
        json: print JSON.
    """
    from rota.serving.workloads import names as known

    _show(known(), json, "\n".join(known()))


def _open(trace: str) -> Reading:
    from rota.serving.workloads.catalog import by_name
    from rota.serving.workloads.formats import Reading
    from rota.serving.workloads.read import open_trace

    return open_trace(trace) if Path(trace).is_file() else Reading(by_name(trace), "")


def _make(workload: str, n: int | None, rate: float | None, seed: int) -> Any:
    from rota.core.registry import parse
    from rota.serving.workloads.catalog import by_name
    from rota.serving.workloads.fitted import load

    given: dict[str, Any] = {key: value for key, value in (("n", n), ("rate", rate)) if value is not None}
    if workload.endswith(".json"):
        return load(workload).generate(seed=seed, **given)
    name, arguments = parse(workload)
    together = ", ".join(f"{key}={value!r}" for key, value in (arguments | given).items())
    return by_name(f"{name}({together})" if together else name, seed)


def _progress(have: int, total: int | None) -> None:
    import sys

    share = f" of {total:,}" if total else ""
    print(f"\r{have:,}{share} bytes", end="" if have != total else "\n", file=sys.stderr, flush=True)


def _write_text(path: Path, text: str) -> None:
    from rota.core.atomic import atomic_write

    with atomic_write(path, "w") as file:
        file.write(text)


def _show(record: Any, json: bool, human: Any) -> None:
    if json:
        print(jsonlib.dumps(record, indent=2))
        return
    from rich.console import Console

    Console(soft_wrap=isinstance(human, str), highlight=False).print(human, markup=False)
