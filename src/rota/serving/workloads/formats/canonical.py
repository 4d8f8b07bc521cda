"""Rota's own format: every column of a workload, as JSON Lines or Parquet; what is neutral is left out of a JSON
line."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from rota.core.atomic import atomic_write
from rota.core.errors import InputError, optional
from rota.serving.model import Workload
from rota.serving.workloads.formats import Reading, codes, keep
from rota.serving.workloads.formats.lines import decode

Seconds = Annotated[float, Meta(ge=0)]
Tokens = Annotated[int, Meta(ge=1)]


NO_TIME = 0.0
"""The very object that `omit_defaults` recognises."""


class Row(
    msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename={"input": "in", "output": "out"}
):
    """One request: `t` seconds, `in` and `out` tokens, and what else is known of it (see `Workload`)."""

    id: int
    t: Seconds
    input: Tokens
    output: Annotated[int, Meta(ge=0)]
    tenant: str = "default"
    priority: int = 0
    model: str = "default"
    session: int = -1
    turn: Annotated[int, Meta(ge=0)] = 0
    parent: int = -1
    joins: list[int] = []
    think: Seconds = NO_TIME
    prefix_hashes: list[int] = []
    prefix_chunk: int = 512
    slo_ttft: Seconds | None = None
    slo_tpot: Seconds | None = None
    fail: bool = False


def read_lines(path: Path) -> Reading:
    """Read JSON Lines."""
    return _reading(path, "jsonl", decode(path, Row))


def write_lines(workload: Workload, path: Path) -> None:
    """Write JSON Lines."""
    encoder = msgspec.json.Encoder()
    with atomic_write(path) as file:
        for row in _rows(workload):
            file.write(encoder.encode(row) + b"\n")


def read_parquet(path: Path) -> Reading:
    """Read Parquet."""
    polars = optional("polars")
    try:
        records = polars.read_parquet(path).to_dicts()
    except polars.exceptions.PolarsError as error:
        raise InputError(str(path), f"bytes that are no Parquet ({error})", "a Parquet file") from None
    try:
        return _reading(path, "parquet", msgspec.convert(records, list[Row]))
    except msgspec.ValidationError as error:
        raise InputError(
            str(path),
            str(error),
            f"the columns {', '.join(msgspec.structs.fields(Row)[i].encode_name for i in range(4))}, ...",
        ) from None


def write_parquet(workload: Workload, path: Path) -> None:
    """Write Parquet, every column spelled out."""
    polars = optional("polars")
    names = {field.name: field.encode_name for field in msgspec.structs.fields(Row)}
    rows = list(_rows(workload))
    columns: dict[str, Any] = {to: [getattr(row, name) for row in rows] for name, to in names.items()}
    schema = {
        "slo_ttft": polars.Float64,
        "slo_tpot": polars.Float64,
        "prefix_hashes": polars.List(polars.Int64),
        "joins": polars.List(polars.Int64),
    }
    with atomic_write(path) as file:
        polars.DataFrame(columns, schema_overrides=schema).write_parquet(file)


def _rows(w: Workload) -> list[Row]:
    starts, hashes = w.prefix_start.tolist(), w.prefix_hash.tolist()
    numbers = [
        getattr(w, c).tolist()
        for c in ("arrival", "prompt", "output", "priority", "session", "turn", "parent", "think")
    ]
    joins: dict[int, list[int]] = {}
    for row, earlier in w.joins.tolist():
        joins.setdefault(row, []).append(earlier)
    tenant = [w.tenants[i] for i in w.tenant.tolist()]
    model = [w.models[i] for i in w.model.tolist()]
    slos = [[None if v != v else v for v in getattr(w, c).tolist()] for c in ("slo_ttft", "slo_tpot")]
    return [
        Row(
            i, t, prompt, output, tenant[i], priority, model[i], session, turn, parent, joins.get(i, []), think or NO_TIME,
            hashes[starts[i] : starts[i + 1]], w.prefix_chunk, slos[0][i], slos[1][i],
        )
        for i, (t, prompt, output, priority, session, turn, parent, think) in enumerate(zip(*numbers, strict=True))
    ]  # fmt: skip


def _reading(path: Path, format: str, rows: list[Row]) -> Reading:
    chunks = {row.prefix_chunk for row in rows if row.prefix_hashes}
    if len(chunks) > 1:
        raise InputError(f"{path}: prefix_chunk", str(sorted(chunks)), "the same in every row")
    served = np.array([not row.fail and row.output > 0 for row in rows], dtype=bool)
    chosen, left_out = keep(path, {"failed": served})
    kept = [row for row, good in zip(rows, chosen.tolist(), strict=True) if good]
    place = {row.id: i for i, row in enumerate(kept)}
    tenant, tenants = codes(np.array([row.tenant for row in kept]))
    model, models = codes(np.array([row.model for row in kept]))
    columns = {name: [getattr(row, name) for row in kept] for name in ("priority", "session", "turn", "think")}
    slos = {
        name: [np.nan if (v := getattr(row, name)) is None else v for row in kept] for name in ("slo_ttft", "slo_tpot")
    }
    length = np.array([len(row.prefix_hashes) for row in kept])
    workload = Workload.of(
        [row.t for row in kept], [row.input for row in kept], [row.output for row in kept], name=path.stem,
        tenant=tenant, tenants=tenants, model=model, models=models, **columns, **slos,
        parent=[_place(path, row, "parent", row.parent, place) if row.parent >= 0 else -1 for row in kept],
        joins=np.array([(place[row.id], _place(path, row, "joins", other, place)) for row in kept for other in row.joins], np.int64).reshape(-1, 2),
        prefix_start=np.concatenate([[0], np.cumsum(length)]),
        prefix_hash=np.fromiter(chain.from_iterable(row.prefix_hashes for row in kept), np.int64, int(length.sum())),
        prefix_chunk=chunks.pop() if chunks else 512,
    )  # fmt: skip
    return Reading(workload, format, left_out)


def _place(path: Path, row: Row, field: str, other: int, place: dict[int, int]) -> int:
    """Where the request stands that a row waits for."""
    if other not in place:
        raise InputError(
            f"{path}: id {row.id}: {field}", str(other), "the id of a request of the file that did not fail"
        )
    return place[other]
