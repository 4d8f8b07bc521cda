"""Traces that are tables: BurstGPT, Azure, Vidur and SplitwiseSim."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from rota.core.errors import UnknownName
from rota.serving.model import Floats, Workload
from rota.serving.workloads.formats import Reading, codes, keep
from rota.serving.workloads.formats.table import Table

HEADERS = {
    "burstgpt": ("Timestamp", "Model", "Request tokens", "Response tokens", "Log Type"),
    "azure": ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    "vidur": ("arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    "splitwise": ("arrival_timestamp", "prompt_size", "token_size"),
}
"""The columns that a format cannot do without."""


def azure(path: Path) -> Reading:
    """Azure LLM inference trace, 2023 or 2024: ISO timestamps; time 0 is the first request."""
    table = _table(path, "azure")
    moments = _moments(table, "TIMESTAMP")
    return _plain(table, "azure", "TIMESTAMP", moments, "ContextTokens", "GeneratedTokens")


def vidur(path: Path) -> Reading:
    """Vidur's trace: seconds and token counts."""
    table = _table(path, "vidur")
    return _plain(table, "vidur", "arrived_at", table.numbers("arrived_at"), "num_prefill_tokens", "num_decode_tokens")


def splitwise(path: Path) -> Reading:
    """SplitwiseSim's trace: seconds and token counts; other columns are ignored."""
    table = _table(path, "splitwise")
    arrival = table.numbers("arrival_timestamp")
    return _plain(table, "splitwise", "arrival_timestamp", arrival, "prompt_size", "token_size")


def burstgpt(path: Path, *, model: str | None = None, log: str | None = None, closed: bool = False) -> Reading:
    """BurstGPT, 6 or 8 columns; time 0 is midnight of the first day, a row without response tokens a failure.

    Model and log type become the tenant, `ChatGPT, API log`: they are the service's models, not a fleet's.

    Args:
        path: the CSV file.
        model: only this model (`ChatGPT` or `GPT-4`).
        log: only this log type (`Conversation log` or `API log`).
        closed: a later turn of a session waits for the answer before it (needs the 8-column file): it then arrives its
            think time, next timestamp less timestamp less elapsed time, after that answer, rather than at the recorded
            time.
    """
    table = _table(path, "burstgpt")
    arrival = table.ascending("Timestamp", table.numbers("Timestamp"))
    models, logs = np.array(table.text("Model")), np.array(table.text("Log Type"))
    prompt, output = table.counts("Request tokens"), table.counts("Response tokens")
    chosen, left_out = keep(
        path,
        {
            "other model": _equal(path, "model", models, model),
            "other log type": _equal(path, "log", logs, log),
            "failed": output > 0,
            "empty prompt": prompt > 0,
        },
    )
    kinds = np.array([f"{name}, {kind}" for name, kind in zip(models[chosen], logs[chosen], strict=True)])
    tenant, tenants = codes(kinds)
    workload = Workload.of(
        arrival[chosen], prompt[chosen], output[chosen], tenant=tenant, tenants=tenants, name=path.stem,
        **_sessions(table, chosen, arrival, closed),
    )  # fmt: skip
    return Reading(workload, "burstgpt", left_out)


def _plain(table: Table, format: str, time: str, arrival: Floats, prompt: str, output: str) -> Reading:
    sent, made = table.counts(prompt), table.counts(output)
    table.ascending(time, arrival)
    chosen, left_out = keep(table.path, {"empty prompt": sent > 0, "no output": made > 0})
    return Reading(Workload.of(arrival[chosen], sent[chosen], made[chosen], name=table.path.stem), format, left_out)


def _table(path: Path, format: str) -> Table:
    table = Table(path)
    table.require(*HEADERS[format])
    return table


def _moments(table: Table, name: str) -> Floats:
    try:
        moments = [datetime.fromisoformat(text) for text in table.text(name)]
        return np.array([(moment - moments[0]).total_seconds() for moment in moments])
    except (ValueError, TypeError):
        row = next(i for i, text in enumerate(table.text(name)) if not _is_moment(text))
        raise table.error(row, name, "a time such as 2023-11-16 18:17:03.979960") from None


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _equal(path: Path, option: str, column: np.ndarray, wanted: str | None) -> np.ndarray:
    if wanted is None:
        return np.ones(len(column), dtype=bool)
    if wanted not in column:
        raise UnknownName(f"{path}: {option}", wanted, {str(name) for name in column})
    return column == wanted


def _sessions(table: Table, chosen: np.ndarray, arrival: Floats, closed: bool) -> dict[str, object]:
    if closed:
        table.require("Session ID", "Elapsed time")
    if "Session ID" not in table.columns:
        return {}
    session, turn, before = turns([table.text("Session ID")[i] for i in np.flatnonzero(chosen).tolist()])
    columns: dict[str, object] = {"session": session, "turn": turn}
    if closed:
        table.columns["Elapsed time"] = tuple(text or "0" for text in table.text("Elapsed time"))
        elapsed = table.numbers("Elapsed time")[chosen]
        sent = arrival[chosen]
        answered = np.where(before >= 0, (sent + elapsed)[before], sent)
        columns |= {"parent": before, "think": np.maximum(sent - answered, 0.0)}
    return columns


def turns(keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Session number, turn number and row of the turn before (-1: none) of rows in order of time; an empty key is no
    session."""
    numbers: dict[str, int] = {}
    last: list[tuple[int, int]] = []
    rows = np.full((len(keys), 3), [-1, 0, -1])
    for i, key in enumerate(keys):
        if not key:
            continue
        number = numbers.setdefault(key, len(numbers))
        if number == len(last):
            last.append((-1, -1))
        before, turn = last[number]
        rows[i] = number, turn + 1, before
        last[number] = (i, turn + 1)
    return rows[:, 0], rows[:, 1], rows[:, 2]
