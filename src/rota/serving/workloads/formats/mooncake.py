"""Mooncake's trace (FAST'25) and its relatives: a JSON object a line with a timestamp, two lengths and prefix
hashes."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from rota.core.errors import InputError
from rota.serving.model import Workload
from rota.serving.workloads.formats import Reading, keep
from rota.serving.workloads.formats.lines import decode
from rota.serving.workloads.formats.tables import turns

CHUNK = 512
"""Tokens that one entry of `hash_ids` covers."""


class Record(msgspec.Struct, gc=False):
    """One line: milliseconds, tokens, and one hash for each `CHUNK` tokens of the prompt, the last of which may be
    partial."""

    timestamp: Annotated[float, Meta(ge=0)]
    input_length: Annotated[int, Meta(ge=0)]
    output_length: Annotated[int, Meta(ge=0)]
    hash_ids: list[int] = []
    session_id: str | int | None = None


def mooncake(path: Path) -> Reading:
    """Read the trace. Lines without a prompt or without output are left out, and counted.

    The hash of a last, partial chunk is kept: no policy sees it, since a chunk counts as a prefix only when the prompt
    fills it.
    """
    records = decode(path, Record)
    arrival = np.array([r.timestamp for r in records]) / 1000
    prompt = np.array([r.input_length for r in records])
    output = np.array([r.output_length for r in records])
    late = np.flatnonzero(np.diff(arrival) < 0)
    if len(late):
        row = int(late[0]) + 1
        raise InputError(f"{path}:{row + 1}: timestamp", f"{records[row].timestamp:g}", "arrivals in ascending order")
    chosen, left_out = keep(path, {"empty prompt": prompt > 0, "no output": output > 0})
    kept = [r for r, good in zip(records, chosen.tolist(), strict=True) if good]
    length = np.array([len(r.hash_ids) for r in kept])
    hashes = np.fromiter(chain.from_iterable(r.hash_ids for r in kept), dtype=np.int64, count=int(length.sum()))
    session, turn, _ = turns(["" if r.session_id is None else str(r.session_id) for r in kept])
    workload = Workload.of(
        arrival[chosen], prompt[chosen], output[chosen], session=session, turn=turn,
        prefix_start=np.concatenate([[0], np.cumsum(length)]), prefix_hash=hashes, prefix_chunk=CHUNK, name=path.stem,
    )  # fmt: skip
    return Reading(workload, "mooncake", left_out)
