"""The fairness bound of the virtual token counter, held against what tenants received in a finished run."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from rota.serving.model import BLOCK, Floats, Ints
from rota.serving.run import Run
from rota.serving.verify_tokens import DECODE, PREEMPTED, PREFILL, QUEUE, TOLERANCE, History, history

Interval = tuple[float, float]


def fairness_violations(run: Run, input_weight: float = 1.0, output_weight: float = 2.0) -> list[str]:
    """Pairs of tenants of whom one got more service than the bound allows while both were backlogged.

    Theorem 4.4 of Sheng et al., "Fairness in Serving Large Language Models" (OSDI'24): under their virtual token counter,
    in any interval in which tenants f and g are both continuously backlogged, |W_f - W_g| <= 2 max(w_p L_in, w_q M).

    Checked, for each instance, each pair of tenants, and each longest interval in which both always have a request waiting
    there: the largest difference over all its sub-intervals. W counts `input_weight` for each prompt token computed, at
    the moment of admission (tokens found in the prefix cache at a first admission are not counted, nor is it known how many
    are found at a later one), and `output_weight` for each token given, at its step. L_in is the largest prefill, M the
    KV capacity of the instance in tokens. The theorem supposes that admitted requests run to their end: with
    preemptions it can be broken by a faultless VTC.

    Returns:
        one sentence for each interval in which the bound is broken.
    """
    past = history(run)
    backlog = _backlogs(run, past)
    broken = []
    for i, kind in enumerate(run.fleet.kinds):
        largest = past.kv[(past.rows["kind"] == PREFILL) & (past.rows["instance"] == i)].max(initial=0)
        bound = 2 * max(input_weight * largest, output_weight * kind.blocks * BLOCK)
        for f, g in combinations(sorted(t for where, t in backlog if where == i), 2):
            shared = _common(backlog[i, f], backlog[i, g])
            times, lead = (
                _lead(run, past, i, f, g, input_weight, output_weight) if shared else (np.zeros(0), np.zeros(0))
            )
            for start, end in shared:
                most = _largest_swing(times, lead, start, end)
                if most > bound:
                    names = f"{run.workload.tenants[f]} and {run.workload.tenants[g]}"
                    broken.append(
                        f"instance {i}: service of {names} differs by {most:g} in [{start:g}, {end:g}), beyond {bound:g}"
                    )
    return broken


def _backlogs(run: Run, past: History) -> dict[tuple[int, int], list[Interval]]:
    """(instance, tenant) -> longest intervals in which at least one of its requests waits there."""
    rows = past.rows[np.isin(past.rows["kind"], (QUEUE, PREEMPTED))]
    rows = rows[np.argsort(rows["start"], kind="stable")]
    found: dict[tuple[int, int], list[Interval]] = {}
    tenants = run.workload.tenant[rows["request"]]
    for i, tenant, start, end in zip(
        rows["instance"].tolist(), tenants.tolist(), rows["start"].tolist(), rows["end"].tolist(), strict=True
    ):
        known = found.setdefault((i, tenant), [])
        if known and start <= known[-1][1]:
            known[-1] = (known[-1][0], max(known[-1][1], end))
        else:
            known.append((start, end))
    return found


def _common(mine: list[Interval], theirs: list[Interval]) -> list[Interval]:
    """Where intervals of both lists overlap."""
    shared = [(max(a, c), min(b, d)) for a, b in mine for c, d in theirs if max(a, c) < min(b, d)]
    return sorted(shared)


def _lead(run: Run, past: History, i: int, f: int, g: int, w_in: float, w_out: float) -> tuple[Floats, Floats]:
    """Times at which tenants f and g get service on instance i, and how far f is ahead from then on."""
    parts = [_service(run, past, i, t, sign * w_in, sign * w_out) for t, sign in ((f, 1.0), (g, -1.0))]
    times, amounts = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(amounts[order])


def _service(run: Run, past: History, i: int, tenant: int, w_in: float, w_out: float) -> tuple[Floats, Floats]:
    """Times and amounts of the service that a tenant got on an instance."""
    rows, steps = past.rows, past.boundaries
    mine = (rows["instance"] == i) & (run.workload.tenant[rows["request"]] == tenant)
    prefill, decode = mine & (rows["kind"] == PREFILL), mine & (rows["kind"] == DECODE)
    cached = np.where(past.kv == run.workload.prompt[rows["request"]], run.requests["cached"][rows["request"]], 0)
    done = prefill & (past.kv_end >= past.kv)
    own = slice(steps.starts[i], steps.starts[i + 1])
    batch = np.cumsum(_at(past.begin[decode], steps.time) - _at(past.stop[decode], steps.time))[:-1]
    given = batch[own] * np.diff(past.decoded)[own]
    times = [rows["start"][prefill], rows["end"][done], steps.time[own]]
    amounts = [w_in * (past.kv - cached)[prefill], np.full(int(done.sum()), w_out), w_out * given]
    return np.concatenate(times), np.concatenate(amounts)


def _at(places: Ints, times: Floats) -> Ints:
    return np.bincount(places, minlength=len(times) + 1)


def _largest_swing(times: Floats, lead: Floats, start: float, end: float) -> float:
    """The largest change of the lead between two moments of an interval."""
    first, last = np.searchsorted(times, [start + TOLERANCE, end - TOLERANCE])
    before = lead[first - 1] if first else 0.0
    inside = np.concatenate([[before], lead[first:last]])
    return float(inside.max() - inside.min())
