"""Fit the step costs of an engine to measurements of it, and say how far off they are on measurements kept aside.

`StepCost` is linear in its coefficients once the knots of g are fixed, and none of them is negative; so the fit is a
non-negative least-squares problem in relative errors (each row divided by its measured time). Coefficients that the
measurements say nothing about keep the value of the instance one starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rota.core.errors import InputError, optional
from rota.core.seeds import stream
from rota.serving.measurements import Measurements, StepLog, Work
from rota.serving.model import BLOCK, Floats, Instance, StepCost

KNOTS = (1.0, 128.0, 512.0, 2048.0)
"""Where g may bend when there is no instance to start from (tokens)."""
HOLD = 1e-3
"""Strength with which a coefficient is held at its starting value, against one measurement."""


@dataclass(frozen=True)
class Error:
    """Relative errors |predicted - measured| / measured over `rows` measurements: `median` and `p90`."""

    median: float
    p90: float
    rows: int

    @classmethod
    def of(cls, measured: Floats, predicted: Floats) -> Error:
        """Over the rows where something was measured."""
        there = np.isfinite(measured) & np.isfinite(predicted) & (measured > 0)
        if not there.any():
            return cls(float("nan"), float("nan"), 0)
        relative = np.abs(predicted[there] - measured[there]) / measured[there]
        return cls(float(np.median(relative)), float(np.quantile(relative, 0.9)), int(there.sum()))


@dataclass(frozen=True)
class Calibration:
    """What came of a fit.

    Attributes:
        instance: the starting instance with fitted step costs.
        heldout: error by metric (`step`, or `ttft` and `tpot`) on rows that the fit has not seen.
        before: the same of the starting instance; empty where there was none.
        measured, predicted: the held-out rows by metric, seconds.
        fitted_rows: how many rows the fit has seen.
    """

    instance: Instance
    heldout: Mapping[str, Error]
    before: Mapping[str, Error]
    measured: Mapping[str, Floats]
    predicted: Mapping[str, Floats]
    fitted_rows: int

    def to_json(self) -> dict[str, Any]:
        """Coefficients and errors as plain values."""
        from dataclasses import asdict

        errors = {name: {m: asdict(e) for m, e in of.items()} for name, of in (("heldout", self.heldout), ("before", self.before))}
        return {"instance": asdict(self.instance), **errors, "fitted_rows": self.fitted_rows}

    def figure(self) -> Any:
        """Predicted against measured seconds of the held-out rows, on logarithmic axes (a plotly figure)."""
        graph = optional("plotly.graph_objects")
        dots = [
            graph.Scatter(x=self.measured[m], y=self.predicted[m], mode="markers", name=m.upper() if m != "step" else m, opacity=0.7)
            for m in self.heldout
        ]
        shown = np.concatenate([np.concatenate([self.measured[m], self.predicted[m]]) for m in self.heldout])
        shown = shown[np.isfinite(shown) & (shown > 0)]
        ends = [float(shown.min()), float(shown.max())]
        line = graph.Scatter(x=ends, y=ends, mode="lines", name="equal", line={"dash": "dot", "color": "gray"})
        axis = {"type": "log", "tickformat": "~s", "ticksuffix": "s"}
        return graph.Figure([*dots, line]).update_layout(
            title=f"{self.instance.name}: held-out measurements", template="plotly_white",
            xaxis={**axis, "title": "measured"}, yaxis={**axis, "title": "predicted"},
        )  # fmt: skip

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(title=f"{self.instance.name}: error on rows not used for fitting")
        for column in ("metric", "rows", "median", "P90", "median before", "P90 before"):
            table.add_column(column, justify="left" if column == "metric" else "right")
        for name, error in self.heldout.items():
            old = self.before.get(name)
            cells = [f"{v:.1%}" for v in (error.median, error.p90, *((old.median, old.p90) if old else ()))]
            table.add_row(name, str(error.rows), *cells)
        return table


def calibrate(measurements: Measurements, base: Instance | None = None, holdout: float = 0.3, seed: int = 0) -> Calibration:
    """Fit step costs to a part of the measurements and judge them on the rest.

    Args:
        measurements: a `StepLog`, `ClientLog` or `LoadTable`.
        base: the instance to start from; gives memory, limits and unidentified coefficients. May be left out for a `StepLog`.
        holdout: share of the rows kept aside, in (0, 1).
        seed: of the split.

    Raises:
        InputError: too few rows, a share out of range, or no `base` where one is needed.
        MissingExtra: scipy is not installed.
    """
    if not 0 < holdout < 1:
        raise InputError("holdout", str(holdout), "a share between 0 and 1")
    kept = min(len(measurements) - 1, max(1, round(holdout * len(measurements))))
    if kept < 1:
        raise InputError("measurements", f"{len(measurements)} row", "at least 2: one to fit, one to judge")
    order = stream(seed, "calibrate", "holdout").permutation(len(measurements))
    aside, used = np.sort(order[:kept]), np.sort(order[kept:])
    start = base or _unknown_engine(measurements)
    cost = fit(measurements.work(used, start.max_batched_tokens), base.cost if base else None)
    instance = replace(start, name=f"{start.name} (calibrated)" if base else start.name, cost=cost)
    measured = {m: v[aside] for m, v in measurements.measured().items()}
    predicted, earlier = _predicted(measurements, instance, aside), _predicted(measurements, base, aside)
    return Calibration(
        instance=instance,
        heldout={m: Error.of(measured[m], predicted[m]) for m in measured},
        before={m: Error.of(measured[m], earlier[m]) for m in earlier},
        measured=measured,
        predicted=predicted,
        fitted_rows=len(used),
    )


def fit(work: Work, base: StepCost | None = None) -> StepCost:
    """Step costs that explain the time of `work` best, by relative errors; see the head of this module."""
    nnls = optional("scipy.optimize").nnls
    knots = _knots(base)
    told = work.seconds > 0
    rows = design(work, knots)[told] / work.seconds[told, None]
    scale = np.sqrt(np.mean(rows**2, axis=0))
    start = _coefficients(base, knots) if base else np.zeros(rows.shape[1])
    free = scale > 0
    held = np.diag(HOLD * scale[free])
    left = 1.0 - rows[:, ~free] @ start[~free]
    found = start.copy()
    found[free], _ = nnls(np.vstack([rows[:, free] / np.sqrt(len(rows)), held]), np.concatenate([left / np.sqrt(len(rows)), held @ start[free]]))
    return _step_cost(found, knots)


def design(work: Work, knots: tuple[float, ...]) -> Floats:
    """(n, k) matrix whose product with the coefficients is the seconds of each span.

    Columns: base of decode steps, base of other steps, slope of g between the knots, per_sequence, per_kv_token,
    quadratic, per_prompt.
    """
    steps = work.quiet + work.mixed
    with_decodes = np.minimum(1.0, work.decoding)
    chunk = np.divide(work.prompt_tokens, work.mixed, out=np.zeros_like(steps), where=work.mixed > 0)
    slopes = [
        work.quiet * (np.clip(work.decoding, a, b) - a) + work.mixed * (np.clip(work.decoding + chunk, a, b) - a)
        for a, b in zip(knots[:-1], (*knots[1:-1], np.inf), strict=True)
    ]
    return np.column_stack(
        [steps * with_decodes, steps * (1 - with_decodes), *slopes, steps * work.decoding, steps * work.kv_tokens, work.pairs, work.prompts]
    )


def _knots(cost: StepCost | None) -> tuple[float, ...]:
    if cost is None:
        return KNOTS
    return cost.tokens if len(cost.tokens) > 1 else (cost.tokens[0], cost.tokens[0] + 1)


def _coefficients(cost: StepCost, knots: tuple[float, ...]) -> Floats:
    first, slopes = cost.linear(knots[0]), np.diff([cost.linear(n) for n in knots]) / np.diff(knots)
    ends = [cost.per_sequence, cost.per_kv_token, cost.quadratic, cost.per_prompt]
    return np.maximum(0.0, np.array([cost.decode_base + first, cost.prefill_base + first, *slopes, *ends]))


def _step_cost(coefficients: Floats, knots: tuple[float, ...]) -> StepCost:
    decode, prefill, *slopes = coefficients[: len(knots) + 1].tolist()
    g = np.concatenate([[0.0], np.cumsum(np.array(slopes) * np.diff(knots))])
    return StepCost(tuple(knots), tuple(g.tolist()), decode, prefill, *coefficients[len(knots) + 1 :].tolist())


def _unknown_engine(measurements: Measurements) -> Instance:
    if not isinstance(measurements, StepLog):
        raise InputError("base", "nothing", "a preset or an instance file: memory and limits of the engine cannot be read off a client's log")
    seen = int(max(measurements.kv_tokens.max(), measurements.prefill_tokens.max(), BLOCK))
    flat = StepCost((1.0,), (0.0,))
    return Instance("calibrated", flat, blocks=-(-seen // BLOCK), max_batched_tokens=max(8192, int(measurements.prefill_tokens.max())))


def _predicted(measurements: Measurements, instance: Instance | None, rows: np.ndarray) -> dict[str, Floats]:
    return {} if instance is None else {m: v[rows] for m, v in measurements.predict(instance).items()}
