"""Rules that any schedule must keep, judged from the finished Timeline alone.

Each function gives one sentence for each broken rule, naming task, resource and times; none if all is well.
`require` turns them into a `RuleViolation`. Domains build their verifiers from these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import RuleViolation, UnknownName
from rota.core.timeline import Timeline


def require(violations: list[str]) -> None:
    """Raise `RuleViolation` if there is any violation."""
    if violations:
        raise RuleViolation(violations)


def no_overlap(timeline: Timeline, resources: Collection[str] | None = None, tolerance: float = 0.0) -> list[str]:
    """Unary resources: of two rows on one resource, one ends before the other starts.

    Args:
        timeline: all rows count, whatever their kind; rows without duration never overlap.
        resources: names of the unary resources (default: all).
        tolerance: overlap that is forgiven (rounding), in units of time.

    Returns:
        A sentence for each row that starts before an earlier one on its resource has ended.
    """
    violations = []
    for name in timeline.resource_names if resources is None else resources:
        rows = _running(timeline, name)
        rows = rows[np.lexsort((timeline.end[rows], timeline.start[rows]))]
        last = _latest(timeline.end[rows])
        late = np.flatnonzero(timeline.start[rows[1:]] < timeline.end[rows[last[:-1]]] - tolerance)
        pairs = zip(rows[last[late]].tolist(), rows[late + 1].tolist(), strict=True)
        violations += [f"{name}: {_row(timeline, b)} starts before {_row(timeline, a)} has ended" for a, b in pairs]
    return violations


def capacity(
    timeline: Timeline, limits: Mapping[str, float], demand: str | None = None, tolerance: float = 1e-9
) -> list[str]:
    """Cumulative resources: the demands of the rows that run at once never exceed the limit.

    Args:
        timeline: rows run from `start` up to but not including `end`.
        limits: capacity of each resource that has one, by name; one that no row names is not in use.
        demand: column with each row's demand (default: 1 each).
        tolerance: excess that is forgiven, as a share of the limit.

    Returns:
        A sentence for each time at which a limit begins to be exceeded.
    """
    amount = np.ones(len(timeline)) if demand is None else _column(timeline, demand)
    violations = []
    for name, limit in limits.items():
        rows = _running(timeline, name)
        times, level = _levels(timeline.start[rows], timeline.end[rows], amount[rows])
        over = level > limit + tolerance * abs(limit)
        for moment in np.flatnonzero(over & ~np.concatenate([[False], over[:-1]])).tolist():
            when = times[moment]
            at = rows[(timeline.start[rows] <= when) & (when < timeline.end[rows])]
            used = f"{level[moment]:g} of {limit:g} in use at {when:g}"
            violations.append(f"{name}: {used}, by {_tasks(timeline, at)}")
    return violations


def precedence(
    timeline: Timeline, pairs: Iterable[tuple[str, str]], lag: float = 0.0, tolerance: float = 0.0
) -> list[str]:
    """Order of tasks: the second of each pair starts no earlier than `lag` after the last end of the first.

    Args:
        timeline: a task runs from the first start to the last end of its rows.
        pairs: (before, after) names of tasks; a pair whose `after` never runs is kept.
        lag: least time between them.
        tolerance: earliness that is forgiven.
    """
    starts, ends = _extent(timeline)
    violations = []
    for before, after in pairs:
        if after in starts and before not in ends:
            violations.append(f"{after} starts at {starts[after]:g}, but {before}, which goes before it, never runs")
        elif after in starts and starts[after] < ends[before] + lag - tolerance:
            needs = f"{before} ends at {ends[before]:g}" + (f" and a lag of {lag:g} is due" if lag else "")
            violations.append(f"{after} starts at {starts[after]:g}, but {needs}")
    return violations


def release(timeline: Timeline, times: Mapping[str, float], tolerance: float = 0.0) -> list[str]:
    """No task starts before the time at which it becomes known; `times` by name of task."""
    starts, _ = _extent(timeline)
    early = ((task, time) for task, time in times.items() if starts.get(task, time) < time - tolerance)
    return [f"{task} starts at {starts[task]:g}, before its release at {time:g}" for task, time in early]


def completion(timeline: Timeline, tasks: Iterable[str], kind: str | None = None) -> list[str]:
    """Every task of `tasks` has exactly one row (of `kind`), and no other task has any."""
    rows = timeline if kind is None else timeline.where(kind=kind)
    done = np.bincount(rows.task, minlength=len(timeline.task_names)).tolist()
    count = {timeline.task_names[code]: n for code, n in enumerate(done) if n}
    what = "completed" if kind is None else f"done ({kind})"
    expected = dict.fromkeys(tasks)
    wrong = [f"{task} is {what} {count.get(task, 0)} times, not once" for task in expected if count.get(task) != 1]
    return wrong + [f"{task} is {what}, but was never asked for" for task in count if task not in expected]


def conservation(timeline: Timeline, column: str, totals: Mapping[str, float], tolerance: float = 1e-9) -> list[str]:
    """The rows of each task add up, in `column`, to what `totals` gives for it; tasks left out must add up to nothing.

    Args:
        timeline: any.
        column: name of a further column, or `duration` for the time spent.
        totals: by name of task.
        tolerance: difference that is forgiven, as a share of the total.
    """
    amount = timeline.end - timeline.start if column == "duration" else _column(timeline, column)
    summed = np.bincount(timeline.task, amount, len(timeline.task_names)).tolist()
    found = {timeline.task_names[code]: total for code, total in enumerate(summed)}
    return [
        f"{task}: {column} adds up to {found.get(task, 0):g}, not {totals.get(task, 0):g}"
        for task in dict.fromkeys([*totals, *found])
        if abs(found.get(task, 0) - totals.get(task, 0)) > tolerance * max(abs(totals.get(task, 0)), 1)
    ]


def _running(timeline: Timeline, resource: str) -> NDArray[np.int64]:
    """Rows with a duration on a resource."""
    if resource not in timeline.resource_names:
        return np.zeros(0, dtype=np.int64)
    on = timeline.resource == timeline.resource_names.index(resource)
    return np.flatnonzero(on & (timeline.end > timeline.start))


def _latest(end: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of the latest end among the first i + 1, for each i."""
    so_far = np.maximum.accumulate(end)
    new = np.concatenate([[True], end[1:] > so_far[:-1]])[: len(end)]
    return np.maximum.accumulate(np.where(new, np.arange(len(end)), 0))


def _levels(
    start: NDArray[np.float64], end: NDArray[np.float64], amount: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times at which anything starts or ends, and what is in use from each of them on."""
    times, where = np.unique(np.concatenate([start, end]), return_inverse=True)
    change = np.bincount(where, np.concatenate([amount, -amount]), len(times))
    return times, np.cumsum(change)


def _extent(timeline: Timeline) -> tuple[dict[str, float], dict[str, float]]:
    """First start and last end of every task that runs, by name."""
    first, last = np.full(len(timeline.task_names), np.inf), np.full(len(timeline.task_names), -np.inf)
    np.minimum.at(first, timeline.task, timeline.start)
    np.maximum.at(last, timeline.task, timeline.end)
    ran = [(timeline.task_names[code], code) for code in np.unique(timeline.task).tolist()]
    return {name: float(first[code]) for name, code in ran}, {name: float(last[code]) for name, code in ran}


def _column(timeline: Timeline, name: str) -> NDArray[np.float64]:
    if name not in timeline.columns:
        raise UnknownName("timeline column", name, timeline.columns)
    return timeline.columns[name].astype(np.float64)


def _row(timeline: Timeline, row: int) -> str:
    return f"{timeline.task_names[timeline.task[row]]} [{timeline.start[row]:g}, {timeline.end[row]:g})"


def _tasks(timeline: Timeline, rows: NDArray[np.int64]) -> str:
    shown = ", ".join(_row(timeline, row) for row in rows[:3].tolist())
    return shown + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
