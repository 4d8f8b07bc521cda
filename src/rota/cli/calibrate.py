"""`rota calibrate`: fit an instance's step costs to measurements, and show how well they predict the rest."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from rota.core.errors import InputError, UnknownName

if TYPE_CHECKING:
    from rota.serving.calibrate import Calibration
    from rota.serving.model import Instance

app = App(name="calibrate")


@app.default
def calibrate(
    measurements: Path,
    /,
    *,
    base: str | None = None,
    holdout: float = 0.3,
    seed: int = 0,
    out: Path | None = None,
    picture: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Fit an instance's cost model to measurements, with its held-out error.

    The columns of the file say what it is: a step log (decoding, kv_tokens, prefill_tokens, seconds), a client log (arrival,
    prompt, output, ttft, and tpot or e2e), or a table of closed-loop load tests (isl, osl, concurrency, ttft, tpot).
    Times are seconds, or milliseconds in columns that end in `_ms`.

    Args:
        measurements: CSV or JSONL file.
        base: preset or instance file to start from, e.g. `llama-3-8b/h100`. Only a step log can do without.
        holdout: share of the rows kept aside to judge the fit.
        seed: of the choice of those rows.
        out: where the fitted instance goes, as TOML that `rota simulate` and `rota plan` accept.
        picture: where the picture of predicted against measured goes, as HTML.
        json: print coefficients and errors as JSON instead of a table.
    """
    from rota.serving.calibrate import calibrate as fit_to
    from rota.serving.measurement_file import read_measurements

    found = fit_to(read_measurements(measurements), instance(base) if base else None, holdout, seed)
    if out is not None:
        _save(found, out, f"rota calibrate {measurements.name}")
    if picture is not None:
        _draw(found, picture)
    if json:
        print(jsonlib.dumps(found.to_json(), indent=2))
    else:
        _show(found, [path for path in (out, picture) if path is not None])


def instance(name: str) -> Instance:
    """The instance of a preset's name or of a TOML file."""
    from rota.serving.instance_file import load_instance
    from rota.serving.presets import preset, presets

    if name.endswith(".toml") or Path(name).is_file():
        return load_instance(name)
    if name.lower() not in presets():
        raise UnknownName("--base", name, presets())
    return preset(name)


def _save(found: Calibration, path: Path, source: str) -> None:
    from rota.serving.instance_file import save_instance

    errors = {
        f"heldout_{m}": f"median {e.median:.1%}, P90 {e.p90:.1%} of {e.rows} rows" for m, e in found.heldout.items()
    }
    save_instance(found.instance, path, {"source": source, **errors})


def _draw(found: Calibration, path: Path) -> None:
    from rota.core.atomic import atomic_write

    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError("--picture", str(path), "a name that ends in .html")
    with atomic_write(path, "w") as file:
        file.write(found.figure().to_html(include_plotlyjs=True))


def _show(found: Calibration, written: list[Path]) -> None:
    from rich.console import Console

    console = Console()
    console.print(found)
    cost = found.instance.cost
    points = ", ".join(f"{n:g}: {1e3 * s:.4g}" for n, s in zip(cost.tokens, cost.seconds, strict=True))
    console.print(f"g(tokens), ms: {points}", highlight=False)
    for name, unit, scale in COEFFICIENTS:
        console.print(f"{name}: {scale * getattr(cost, name):.4g} {unit}", highlight=False)
    console.print(f"fitted to {found.fitted_rows} rows", highlight=False)
    for path in written:
        console.print(f"wrote {path}", highlight=False)


COEFFICIENTS = (
    ("decode_base", "ms", 1e3),
    ("prefill_base", "ms", 1e3),
    ("per_sequence", "us", 1e6),
    ("per_kv_token", "ns", 1e9),
    ("quadratic", "ns", 1e9),
    ("per_prompt", "ms", 1e3),
)
"""What is shown of a `StepCost`: attribute, unit, units in a second."""
