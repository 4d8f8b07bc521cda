"""Several streams of requests as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rota.core.errors import InputError
from rota.serving.model import ROW_COLUMNS, Ints, Workload


def merge(parts: Sequence[Workload], name: str = "merged") -> Workload:
    """The requests of all parts in order of arrival; sessions and prefixes of different parts stay apart.

    Tenants and models are told apart by name. Rows at one instant keep the order of the parts.

    Raises:
        InputError: no parts, or prefixes with different chunks.
    """
    chunks = {part.prefix_chunk for part in parts if len(part.prefix_hash)}
    if not parts or len(chunks) > 1:
        raise InputError(
            "merge", f"prefix chunks {sorted(chunks)}" if parts else "no workloads", "workloads with equal chunks"
        )
    rows = {column: np.concatenate([getattr(part, column) for part in parts]) for column in ROW_COLUMNS}
    first = np.cumsum([0, *(len(part) for part in parts)])
    rows["parent"] = _shifted([p.parent for p in parts], first[:-1])
    rows["session"] = _shifted([p.session for p in parts], _bases([p.session for p in parts]))
    tenants, models = _union(part.tenants for part in parts), _union(part.models for part in parts)
    rows["tenant"] = np.concatenate([np.array([tenants.index(t) for t in p.tenants])[p.tenant] for p in parts])
    rows["model"] = np.concatenate([np.array([models.index(m) for m in p.models])[p.model] for p in parts])
    hashes = _shifted([p.prefix_hash for p in parts], _bases([p.prefix_hash for p in parts]))
    length = np.concatenate([np.diff(p.prefix_start) for p in parts])

    order = np.argsort(rows["arrival"], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    rows["parent"] = np.where(rows["parent"] >= 0, place[rows["parent"]], -1)
    joins = place[np.concatenate([p.joins + base for p, base in zip(parts, first[:-1].tolist(), strict=True)])]
    begin = (np.cumsum(length) - length)[order]
    start = np.concatenate([[0], np.cumsum(length[order])])
    within = np.arange(start[-1]) - np.repeat(start[:-1], length[order])
    columns = {column: rows[column][order] for column in ROW_COLUMNS}
    return Workload.of(
        **columns, name=name, tenants=tenants, models=models,
        prefix_start=start, prefix_hash=hashes[np.repeat(begin, length[order]) + within],
        prefix_chunk=chunks.pop() if chunks else 512, joins=joins,
    )  # fmt: skip


def _bases(values: Sequence[Ints]) -> Ints:
    return np.cumsum([0, *(int(v.max(initial=-1)) + 1 for v in values)])[:-1]


def _shifted(values: Sequence[Ints], bases: Ints) -> Ints:
    return np.concatenate([np.where(v >= 0, v + base, v) for v, base in zip(values, bases.tolist(), strict=True)])


def _union(names: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in names for name in part))  # type: ignore[attr-defined]
