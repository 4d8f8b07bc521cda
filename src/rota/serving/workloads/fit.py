"""Fitting a generator to a trace."""

from __future__ import annotations

import math

import numpy as np

from rota.core.errors import InputError, UnknownName
from rota.core.seeds import stream
from rota.serving.model import Floats, Workload
from rota.serving.workloads import stats
from rota.serving.workloads.fitted import Class, FittedWorkload, SessionLaw
from rota.serving.workloads.joint import JointLaw
from rota.serving.workloads.processes import Batches, GapChain, PiecewiseGamma, Process
from rota.serving.workloads.reuse import PrefixReuse

CLASS_ROWS = 200
"""A class of requests with fewer rows than this takes the length law of all."""

CANDIDATES: tuple[tuple[type[Process], float | None], ...] = (
    (PiecewiseGamma, 60.0),
    (PiecewiseGamma, None),
    (GapChain, None),
    (GapChain, 60.0),
    (GapChain, 300.0),
    (Batches, None),
)
"""Arrival processes that `fit` tries: kind, and seconds that a rate holds; batches only if half of the gaps are 0."""

KINDS: dict[str, type[Process]] = {"gamma": PiecewiseGamma, "chain": GapChain, "batches": Batches}


def fit(
    workload: Workload, *, arrivals: str = "best", window: float | None = None, source: str = "", licence: str = ""
) -> FittedWorkload:
    """A generator whose requests look like those of a trace.

    Arrivals are fitted by a piece-wise Gamma process, by a chain of empirical gaps, or by batches; lengths by their
    joint quantiles, for each class (tenant, model, priority) of at least 200 requests; prefixes by depth and age of
    reuse; turns that wait for answers by their number, think time and new text. A trace with such turns is fitted stream by
    stream: tenant by tenant, single requests apart from conversations.

    Args:
        workload: the trace, at least 20 requests.
        arrivals: `gamma`, `chain` or `batches`; `best` takes whichever of `CANDIDATES` regenerates gaps and counts most
            truly.
        window: seconds that a rate holds, for `gamma` and `chain`; None: a constant rate.
        source: where the trace comes from, kept with the numbers.
        licence: under which it was published.

    Raises:
        InputError: too few requests, or no such arrival process.
    """
    times = stats.arrivals(workload)
    if len(times) < 20 or times[-1] <= times[0]:
        raise InputError(
            workload.name, f"{len(times)} arrivals over {workload.duration:g} s", "at least 20, not all at once"
        )
    if arrivals not in (*KINDS, "best"):
        raise UnknownName("arrivals", arrivals, (*KINDS, "best"))
    process = _best(times) if arrivals == "best" else KINDS[arrivals].fit(times, float(times[-1]), window)
    if len(workload.joins):
        raise InputError(
            f"{workload.name}: joins", f"{len(workload.joins)} of them", "conversations; workflows are not fitted"
        )
    closed = bool((workload.parent >= 0).any())
    parts = _parts(workload) if closed else []
    return FittedWorkload(
        name=workload.name,
        source=source,
        licence=licence,
        requests=len(workload),
        duration=float(times[-1]),
        arrivals=process,
        classes=_classes(workload),
        prefixes=None if closed else PrefixReuse.fit(workload),
        sessions=_sessions(workload) if closed and len(parts) < 2 else None,
        parts=tuple(fit(part, arrivals=arrivals, window=window) for part in parts) if len(parts) > 1 else (),
    )


def _parts(w: Workload) -> list[Workload]:
    """Requests by tenant, and apart from conversations; streams of under 20 arrivals are left out."""
    key = np.stack([w.tenant, w.session >= 0], axis=1)
    streams = [w.take((key == kind).all(axis=1)) for kind in np.unique(key, axis=0)]
    return [s for s in streams if len(stats.arrivals(s)) >= 20]


def _best(times: Floats) -> Process:
    duration = float(times[-1])
    batched = float(np.mean(np.diff(times) == 0)) >= 0.5
    able = [(kind, window) for kind, window in CANDIDATES if duration > 2 * (window or 0)]
    fitted = [kind.fit(times, duration, window) for kind, window in able if batched or kind is not Batches]
    return min(fitted, key=lambda process: _misfit(times, process))


def _misfit(times: Floats, process: Process) -> float:
    """KS distance of the gaps plus the mean absolute log ratio of the Fano factors, over three regenerations."""
    scores = []
    for seed in range(3):
        again = process.sample(stream(seed, "fit", "misfit"), len(times))
        pairs = [(stats.fano(again, w), stats.fano(times, w)) for w in (1.0, 10.0, 60.0)]
        logs = [abs(math.log(a / b)) for a, b in pairs if a > 0 and b > 0]
        scores.append(stats.ks_distance(np.diff(times), np.diff(again)) + (sum(logs) / len(logs) if logs else 0.0) / 2)
    return sum(scores) / len(scores)


def _classes(w: Workload) -> tuple[Class, ...]:
    keys, code = np.unique(np.stack([w.tenant, w.model, w.priority], axis=1), axis=0, return_inverse=True)
    overall = JointLaw.fit(w.prompt, w.output)
    found = []
    for k, (tenant, model, priority) in enumerate(keys.tolist()):
        rows = code.ravel() == k
        own = len(keys) > 1 and rows.sum() >= CLASS_ROWS
        lengths = JointLaw.fit(w.prompt[rows], w.output[rows]) if own else overall
        found.append(Class(float(rows.mean()), w.tenants[tenant], w.models[model], priority, lengths))
    return tuple(found)


def _sessions(w: Workload) -> SessionLaw:
    child = np.flatnonzero(w.parent >= 0)
    said = np.zeros(len(w), dtype=np.int64)
    said[child] = (w.prompt + w.output)[w.parent[child]]
    new = np.maximum(w.prompt - said, 1)
    first = w.parent < 0
    return SessionLaw(
        float(len(w) / first.sum()), float(w.think[child].mean()), stats.variation(w.think[child]),
        JointLaw.fit(new[first], w.output[first]), JointLaw.fit(new[child], w.output[child]),
        int((w.prompt + w.output).max()), w.prefix_chunk if len(w.prefix_hash) else 64,
    )  # fmt: skip
