"""Writing traces: whole workloads as JSON Lines or Parquet, arrivals and lengths alone in the formats of other
tools."""

from __future__ import annotations

from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path

from rota.core.atomic import atomic_write
from rota.core.errors import InputError, UnknownName
from rota.serving.model import Workload

FORMATS = ("azure", "jsonl", "mooncake", "parquet", "vidur")


def write(workload: Workload, path: str | PathLike[str], format: str | None = None) -> Path:
    """Write a workload; the file appears whole or not at all.

    `jsonl` and `parquet` keep every column. `azure`, `vidur` and `mooncake` keep arrivals, lengths and (Mooncake)
    prefix hashes.

    Args:
        workload: the requests.
        path: the target.
        format: one of `FORMATS`; None takes `jsonl`, `parquet`, or `azure` for `.csv`, from the suffix.

    Raises:
        InputError: the format cannot hold what the workload needs, or the file cannot be written.
    """
    target = Path(path)
    chosen = _by_suffix(target) if format is None else format
    if chosen not in FORMATS:
        raise UnknownName("format to write", chosen, FORMATS)
    if chosen in ("jsonl", "parquet"):
        from rota.serving.workloads.formats import canonical

        (canonical.write_lines if chosen == "jsonl" else canonical.write_parquet)(workload, target)
        return target
    if (workload.parent >= 0).any():
        raise InputError(f"format {chosen}", "turns that wait for an answer", "jsonl or parquet, which can say so")
    with atomic_write(target, "w") as file:
        file.writelines({"azure": _azure, "vidur": _vidur, "mooncake": _mooncake}[chosen](workload))
    return target


def _by_suffix(path: Path) -> str:
    suffix = {".jsonl": "jsonl", ".parquet": "parquet", ".csv": "azure"}
    if path.suffix not in suffix:
        raise UnknownName(f"{path}: suffix", path.suffix, suffix)
    return suffix[path.suffix]


def _lengths(w: Workload) -> zip[tuple[float, int, int]]:
    return zip(w.arrival.tolist(), w.prompt.tolist(), w.output.tolist(), strict=True)


def _azure(w: Workload) -> list[str]:
    zero = datetime(2000, 1, 1)
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    return [
        head,
        *(f"{(zero + timedelta(seconds=t)).isoformat(' ', 'microseconds')},{i},{o}\n" for t, i, o in _lengths(w)),
    ]


def _vidur(w: Workload) -> list[str]:
    return ["arrived_at,num_prefill_tokens,num_decode_tokens\n", *(f"{t!r},{i},{o}\n" for t, i, o in _lengths(w))]


def _mooncake(w: Workload) -> list[str]:
    if len(w.prefix_hash) and w.prefix_chunk != 512:
        raise InputError("format mooncake", f"prefix hashes of {w.prefix_chunk} tokens", "512")
    start, hashes = w.prefix_start.tolist(), w.prefix_hash.tolist()
    line = '{{"timestamp": {}, "input_length": {}, "output_length": {}, "hash_ids": {}}}\n'
    return [
        line.format(round(t * 1000), i, o, hashes[start[k] : start[k + 1]]) for k, (t, i, o) in enumerate(_lengths(w))
    ]
