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
from rota.serving.model import BLOCK, Floats, Instance, Ints, StepCost

KNOTS = (1.0, 128.0, 512.0, 2048.0)
"""Where g may bend when there is no instance to start from (tokens)."""
BUDGETS = (2048, 8192, 16384)
"""Prompt tokens a step that engines come with: vLLM's and SGLang's usual settings."""
HOLD = 1e-2
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
        misfit: mean |log(predicted / measured)| over the rows that the fit has seen.
        measured, predicted: the held-out rows by metric, seconds.
        fitted_rows: how many rows the fit has seen.
    """

    instance: Instance
    heldout: Mapping[str, Error]
    before: Mapping[str, Error]
    misfit: float
    measured: Mapping[str, Floats]
    predicted: Mapping[str, Floats]
    fitted_rows: int

    def to_json(self) -> dict[str, Any]:
        """Coefficients and errors as plain values."""
        from dataclasses import asdict

        errors = {
            name: {m: asdict(e) for m, e in of.items()}
            for name, of in (("heldout", self.heldout), ("before", self.before))
        }
        return {"instance": asdict(self.instance), **errors, "misfit": self.misfit, "fitted_rows": self.fitted_rows}

    def figure(self) -> Any:
        """Predicted against measured seconds of the held-out rows, on logarithmic axes (a plotly figure)."""
        graph = optional("plotly.graph_objects")
        dots = [
            graph.Scatter(
                x=self.measured[m],
                y=self.predicted[m],
                mode="markers",
                name=m.upper() if m != "step" else m,
                opacity=0.7,
            )
            for m in self.heldout
        ]
        shown = np.concatenate([np.concatenate([self.measured[m], self.predicted[m]]) for m in self.heldout])
        shown = shown[np.isfinite(shown) & (shown > 0)]
        ends = [float(shown.min()), float(shown.max())]
        line = graph.Scatter(x=ends, y=ends, mode="lines", name="equal", line={"dash": "dot", "color": "gray"})
        axis = {"type": "log", "tickformat": "~s", "ticksuffix": "s", "dtick": 1}
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


def calibrate(
    measurements: Measurements, base: Instance | None = None, holdout: float = 0.3, seed: int = 0
) -> Calibration:
    """Fit step costs to a part of the measurements and judge them on the rest.

    Measurements from outside the engine do not say how its scheduler batches prompts; there, whole and chunked prefill with
    the budgets of `BUDGETS` are tried beside what `base` has, and the one with the least misfit on the fitted rows is kept
    (`base` as it is, if no fit is better).

    Args:
        measurements: a `StepLog`, `ClientLog` or `LoadTable`.
        base: the instance to start from; gives memory, limits and unidentified coefficients. May be left out for a `StepLog`.
        holdout: share of the rows kept aside, in (0, 1).
        seed: of the split.

    Raises:
        InputError: too few rows, a share out of range, or no `base` where one is needed.
        MissingExtra: scipy is not installed.
    """
    used, aside = split(len(measurements), holdout, seed)
    start = base or _unknown_engine(measurements)
    name = f"{start.name} (calibrated)" if base else start.name
    tried = [_judged(measurements, used, base)] if base else []
    tried += [_fitted(measurements, used, engine, base) for engine in _engines(start, measurements)]
    misfit, instance = min(tried, key=lambda pair: pair[0])
    measured, predicted = measurements.measured(aside), measurements.predict(aside, instance)
    earlier = measurements.predict(aside, base) if base else {}
    return Calibration(
        instance=replace(instance, name=name),
        heldout={m: Error.of(measured[m], predicted[m]) for m in measured},
        before={m: Error.of(measured[m], earlier[m]) for m in earlier},
        misfit=misfit,
        measured=measured,
        predicted=predicted,
        fitted_rows=len(used),
    )


def split(rows: int, holdout: float, seed: int) -> tuple[Ints, Ints]:
    """Row numbers to fit and to judge, drawn at random, each ascending."""
    if not 0 < holdout < 1:
        raise InputError("holdout", str(holdout), "a share between 0 and 1")
    if rows < 2:
        raise InputError("measurements", f"{rows} row", "at least 2: one to fit, one to judge")
    kept = min(rows - 1, max(1, round(holdout * rows)))
    order = stream(seed, "calibrate", "holdout").permutation(rows)
    return np.sort(order[kept:]), np.sort(order[:kept])


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
    found[free], _ = nnls(
        np.vstack([rows[:, free] / np.sqrt(len(rows)), held]),
        np.concatenate([left / np.sqrt(len(rows)), held @ start[free]]),
    )
    return _step_cost(found, knots)


def design(work: Work, knots: tuple[float, ...]) -> Floats:
    """(n, k) matrix whose product with the coefficients is the seconds of each span.

    Columns: base of decode steps, base of other steps, slope of g between the knots, per_sequence, per_kv_token,
    quadratic, per_prompt.
    """
    steps, chunks = work.quiet + work.mixed, work.mixed + work.pure
    chunk = np.divide(work.prompt_tokens, chunks, out=np.zeros_like(steps), where=chunks > 0)
    parts = ((work.quiet, work.decoding), (work.mixed, work.decoding + chunk), (work.pure, chunk))
    slopes = [
        np.sum([count * (np.clip(tokens, a, b) - a) for count, tokens in parts], axis=0)
        for a, b in zip(knots[:-1], (*knots[1:-1], np.inf), strict=True)
    ]
    return np.column_stack(
        [steps, work.pure, *slopes, steps * work.decoding, steps * work.kv_tokens, work.pairs, work.prompts]
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
        raise InputError(
            "base",
            "nothing",
            "a preset or an instance file: memory and limits of the engine cannot be read off a client's log",
        )
    seen = int(max(measurements.kv_tokens.max(), measurements.prefill_tokens.max(), BLOCK))
    flat = StepCost((1.0,), (0.0,))
    return Instance(
        "calibrated",
        flat,
        blocks=-(-seen // BLOCK),
        max_batched_tokens=max(8192, int(measurements.prefill_tokens.max())),
    )


def _engines(start: Instance, measurements: Measurements) -> list[Instance]:
    if isinstance(measurements, StepLog):
        return [start]
    others = [
        replace(start, prefill=mode, max_batched_tokens=budget) for mode in ("chunked", "whole") for budget in BUDGETS
    ]
    return [start, *(engine for engine in others if engine != start)]


def _fitted(measurements: Measurements, rows: Ints, engine: Instance, base: Instance | None) -> tuple[float, Instance]:
    cost = fit(measurements.work(rows, engine), base.cost if base else None)
    try:
        return _judged(measurements, rows, replace(engine, cost=cost))
    except InputError:  # a scheduler that cannot take a measured prompt
        return np.inf, engine


def _judged(measurements: Measurements, rows: Ints, instance: Instance) -> tuple[float, Instance]:
    measured, predicted = measurements.measured(rows), measurements.predict(rows, instance)
    return float(np.mean([_distance(measured[m], predicted[m]) for m in measured])), instance


def _distance(measured: Floats, predicted: Floats) -> float:
    there = (measured > 0) & (predicted > 0)
    return float(np.mean(np.abs(np.log(predicted[there] / measured[there])))) if there.any() else 0.0
