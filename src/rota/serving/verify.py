"""Judges a finished `Run` from the rules of serving alone; shares no code with the clockwork.

The rules:
  1. Every request ends exactly once, when its last row ends; all of them together got their output, token by token.
  2. Nothing happens to a request before its release: its arrival, or its parent's end and the think time.
  3. A request's rows follow one another without gap or overlap, in an order that makes sense, on the instance it is on.
  4. No token before a prefill, none while a request moves, one at each decode step otherwise (`verify_tokens`).
  5. KV memory is never over capacity; a request that migrates holds two copies (`verify_memory`).
  6. An instance takes part in one move at a time; a move leaves its source when decoding stops there.
  7. No request waits on an instance whose batch is empty, unless a migration holds the room it needs.
  8. Under `priority`: no request is admitted where a more urgent one that came before it still waits.
Fairness is judged by `fairness_violations`, for runs whose order promises it.
"""

from __future__ import annotations

import numpy as np

from rota.core.timeline import Timeline
from rota.core.verify import no_overlap, release
from rota.serving.model import BLOCK, Floats, Ints
from rota.serving.run import Numbered, Run
from rota.serving.verify_fairness import fairness_violations
from rota.serving.verify_memory import memory_violations
from rota.serving.verify_tokens import (
    DECODE,
    MIGRATE,
    PREEMPTED,
    PREFILL,
    QUEUE,
    SWAPPED,
    TOLERANCE,
    History,
    history,
    named,
)

__all__ = ["fairness_violations", "violations"]

AFTER = {
    QUEUE: (QUEUE, PREFILL), PREFILL: (DECODE, PREEMPTED, SWAPPED, MIGRATE), DECODE: (PREEMPTED, SWAPPED, MIGRATE),
    PREEMPTED: (PREEMPTED, PREFILL), MIGRATE: (DECODE, PREEMPTED, SWAPPED), SWAPPED: (DECODE, PREEMPTED, SWAPPED),
}  # fmt: skip
"""What may follow each kind of row; rows without duration are left out of a timeline."""

WAITING = (QUEUE, PREEMPTED)


def violations(run: Run, order: str | None = None) -> list[str]:
    """One sentence for each broken rule; none if all is well.

    Args:
        run: a finished run.
        order: the local order in force, if its promise is to be checked: `priority`; any other name adds nothing.
    """
    past = history(run)
    broken = _ends(run, past.rows) + _releases(run) + _sequence(past.rows) + past.broken
    broken += memory_violations(run, past) + _moves(run, past.rows) + _idle(run, past)
    return broken + (_overtaken(run, past) if order == "priority" else [])


def _ends(run: Run, rows: np.ndarray) -> list[str]:
    """Rule 1."""
    n, finish, first = len(run.workload), run.requests["finish"], run.requests["first_token"]
    last = np.full(n, -np.inf)
    np.maximum.at(last, rows["request"], rows["end"])
    broken = [f"r{r} ends at {finish[r]:g}, its last row at {last[r]:g}" for r in _unlike(last, finish)]
    prefilled = np.zeros(n, bool)
    at = (rows["kind"] == PREFILL) & (np.abs(rows["end"] - first[rows["request"]]) <= TOLERANCE)
    prefilled[rows["request"][at]] = True
    broken += [
        f"r{r} gets its first token at {first[r]:g}, when no prefill of it ends" for r in np.flatnonzero(~prefilled)
    ]
    early = rows[(rows["kind"] == DECODE) & (rows["start"] < first[rows["request"]] - TOLERANCE)]
    broken += [f"{named(row)} comes before its first token" for row in early]
    got, due = int((run.gaps["count"] * run.gaps["weight"]).sum()), int((run.workload.output - 1).sum())
    return broken + ([f"{got} inter-token gaps are recorded, not {due}"] if got != due else [])


def _releases(run: Run) -> list[str]:
    """Rule 2, and that latencies count from the release."""
    w, r = run.workload, run.requests
    due = w.arrival.copy()
    for row, waits in w.predecessors().items():
        due[row] = r["finish"][waits].max() + w.think[row]
    broken = [f"r{k} arrives at {r['arrival'][k]:g}, not at {due[k]:g}" for k in _unlike(r["arrival"], due)]
    for name, moment in (("ttft", "first_token"), ("e2e", "finish")):
        wrong = _unlike(r[name], r[moment] - r["arrival"])
        broken += [f"r{k}: its {name} is {r[name][k]:g}, not {r[moment][k] - r['arrival'][k]:g}" for k in wrong]
    names = Numbered("r", len(w))
    return broken + release(run.timeline, dict(zip(names, due.tolist(), strict=True)), TOLERANCE)


def _sequence(rows: np.ndarray) -> list[str]:
    """Rule 3; `rows` by request and start."""
    if not len(rows):
        return []
    new = np.concatenate([[True], np.diff(rows["request"]) > 0])
    opening, closing = rows[new], rows[np.append(new[1:], True)]
    broken = [f"{named(row)} is no way to begin" for row in opening[~np.isin(opening["kind"], (QUEUE, PREFILL))]]
    broken += [f"{named(row)} is no way to end" for row in closing[~np.isin(closing["kind"], (PREFILL, DECODE))]]
    later = np.flatnonzero(~new)
    apart = np.abs(rows["start"][later] - rows["end"][later - 1]) > TOLERANCE
    broken += [f"{named(rows[k])} does not begin when {named(rows[k - 1])} ends" for k in later[apart].tolist()]
    legal = _may_follow(rows[later - 1], rows[later])
    return broken + [f"{named(rows[k])} cannot follow {named(rows[k - 1])}" for k in later[~legal].tolist()]


def _may_follow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    table = np.zeros((6, 6), bool)
    for kind, allowed in AFTER.items():
        table[kind, list(allowed)] = True
    elsewhere = before["instance"] != after["instance"]
    sent_again = np.isin(before["kind"], WAITING) & np.isin(after["kind"], (*WAITING, PREFILL))
    migrates = after["kind"] == MIGRATE
    at_once = elsewhere & (before["kind"] == DECODE) & (after["kind"] == DECODE)
    return at_once | (table[before["kind"], after["kind"]] & np.where(elsewhere, sent_again | migrates, ~migrates))


def _moves(run: Run, rows: np.ndarray) -> list[str]:
    """Rule 6."""
    broken = _one_at_a_time(run)
    stopped = (
        {(int(r["request"]), int(r["instance"]), float(r["end"])) for r in rows if r["kind"] in (PREFILL, DECODE)}
        if run.moves
        else ()
    )
    migrating = {(int(r["request"]), float(r["start"])): r for r in rows[rows["kind"] == MIGRATE]}
    for request, source, target, started, left, resumed in run.moves:
        what = f"the move of r{request} from {source} to {target}"
        if not started <= left <= resumed or source == target:
            broken.append(f"{what} goes through {started:g}, {left:g}, {resumed:g}")
        if (request, source, left) not in stopped:
            broken.append(f"{what} leaves its source at {left:g}, when it does not stop there")
        row = migrating.pop((request, left), None)
        if row is not None and (row["instance"] != target or row["end"] < resumed - TOLERANCE):
            broken.append(f"{what} resumes at {resumed:g}, not as {named(row)} says")
        if row is None and resumed > left + TOLERANCE:
            broken.append(f"{what} has no row while it is under way")
    return broken + [f"{named(row)} belongs to no move" for row in migrating.values()]


def _one_at_a_time(run: Run) -> list[str]:
    """Moves as rows of both their instances, which are unary."""
    table = np.array(run.moves, float).reshape(-1, 6)
    names = Numbered("instance ", len(run.fleet))
    start, end = np.tile(table[:, 3], 2), np.tile(np.maximum(table[:, 3], table[:, 5]), 2)
    both = Timeline(np.tile(table[:, 0], 2), np.concatenate([table[:, 1], table[:, 2]]), np.zeros(len(start), np.int64), start, end,
                    Numbered("move of r", len(run.workload)), list(names), ("move",))  # fmt: skip
    return no_overlap(both, tolerance=TOLERANCE)


def _idle(run: Run, past: History) -> list[str]:
    """Rule 7. A move may hold back as much as the largest request has; only one touches an instance at a time.

    While a request waits that may not fit, nobody is at fault: it may be the head of the queue, and hold back the others.
    """
    rows, w = past.rows, run.workload
    moving = run.counts["migrations"] + run.counts["aborted_source"] + run.counts["aborted_target"] > 0
    largest = -(-int((w.prompt + w.output).max(initial=0)) // BLOCK) if moving else 0
    usable = np.array([kind.blocks - kind.watermark_blocks for kind in run.fleet.kinds])[rows["instance"]]
    fits = -(-past.kv // BLOCK) + largest <= usable
    waiting = np.isin(rows["kind"], WAITING)
    broken = []
    for i in range(len(run.fleet)):
        here = rows["instance"] == i
        excused = here & (~waiting | ~fits)
        start, end = _merged(rows["start"][excused], rows["end"][excused])
        queued = rows[here & waiting & fits]
        left = _uncovered_at(queued["start"], queued["end"], start, end)
        broken += [
            f"{named(queued[k])} while nothing runs there at {left[k]:g}" for k in np.flatnonzero(np.isfinite(left))
        ]
    return broken


def _merged(start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """The union of intervals, as intervals in order that do not touch."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    new = np.concatenate([[True], start[1:] > reach[:-1] + TOLERANCE])[: len(start)]
    last = np.append(new[1:], True)[: len(start)]
    return start[new], reach[last]


def _uncovered_at(a: Floats, b: Floats, start: Floats, end: Floats) -> Floats:
    """First moment of each [a, b) outside the merged intervals, inf where there is none."""
    place = np.searchsorted(start, a + TOLERANCE, side="right") - 1
    reach = np.where(place >= 0, end[place], -np.inf) if len(end) else np.full(len(a), -np.inf)
    bare = np.maximum(a, reach)
    return np.where(bare < b - TOLERANCE, bare, np.inf)


def _overtaken(run: Run, past: History) -> list[str]:
    """Rule 8; `gone` may count one who came after the decision, so that after a copy from the CPU some cases are let pass."""
    rows, broken = past.rows, []
    priority, decided = run.workload.priority[rows["request"]], _decided(past)
    lasting = np.isin(rows["kind"], WAITING) & (rows["end"] - rows["start"] > 3 * TOLERANCE)
    for level in np.unique(run.workload.priority)[1:].tolist():
        for i in np.unique(rows["instance"]).tolist():
            here = rows["instance"] == i
            urgent = rows[here & lasting & (priority >= level)]
            admitted = np.flatnonzero(here & (rows["kind"] == PREFILL) & (priority < level))
            came = np.searchsorted(np.sort(urgent["start"]), decided[admitted] - TOLERANCE)
            gone = np.searchsorted(np.sort(urgent["end"]), rows["start"][admitted] + TOLERANCE, side="right")
            late = rows[admitted[came > gone]]
            broken += [f"{named(row)} is admitted while one of priority {level} or more waits" for row in late]
    return broken


def _decided(past: History) -> Floats:
    """When each row that begins was decided on: as it begins, or, behind a copy from the CPU, at the step boundary before it."""
    rows, decided = past.rows, past.rows["start"].copy()
    for i in np.unique(rows["instance"]).tolist():
        copied = rows["end"][(rows["kind"] == SWAPPED) & (rows["instance"] == i)]
        behind = np.flatnonzero((rows["instance"] == i) & np.isin(rows["start"], copied))
        steps = past.boundaries.time[past.boundaries.starts[i] : past.boundaries.starts[i + 1]]
        before = np.searchsorted(steps, rows["start"][behind] - TOLERANCE)
        decided[behind] = np.concatenate([[-np.inf], steps])[before]
    return decided


def _unlike(found: Floats, due: Floats) -> Ints:
    """Rows where two columns differ (NaN included)."""
    return np.flatnonzero(~(np.abs(found - due) <= TOLERANCE))
