"""Results of load generators (vLLM bench, AIPerf, GuideLLM), read back as the workload they sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.model import Workload
from rota.serving.workloads.arrivals import renewal
from rota.serving.workloads.formats import Reading, keep
from rota.serving.workloads.formats.lines import decode


def vllm(path: Path, *, rate: float | None = None, seed: int = 0) -> Reading:
    """Output of `vllm bench serve --save-result --save-detailed`.

    Args:
        path: the JSON file, with `input_lens`, `output_lens` and, in newer versions, `start_times` (seconds).
        rate: draw Poisson arrivals at this rate instead; needed where the file has no start times.
        seed: of those arrivals.
    """
    record = _document(path)
    for field in ("input_lens", "output_lens"):
        if not isinstance(record.get(field), list):
            raise InputError(
                f"{path}: {field}", "no list", "one length a request (run the benchmark with --save-detailed)"
            )
    prompt, output = np.array(record["input_lens"]), np.array(record["output_lens"])
    if rate is not None:
        start = renewal(stream(seed, "vllm", "arrival"), rate, len(prompt))
    elif record.get("start_times"):
        start = np.array(record["start_times"], dtype=np.float64)
    else:
        raise InputError(f"{path}: start_times", "none", "start times, or rate=... to draw Poisson arrivals")
    notes = () if rate is None else (f"arrivals are Poisson at {rate:g}/s",)
    return _reading(path, "vllm", start, prompt, output, notes)


class _Measured(msgspec.Struct):
    value: float


class _Meta(msgspec.Struct):
    request_start_ns: int
    benchmark_phase: str = "profiling"


class _Metrics(msgspec.Struct):
    input_sequence_length: _Measured | None = None
    output_sequence_length: _Measured | None = None


class _AiperfRecord(msgspec.Struct):
    metadata: _Meta
    metrics: _Metrics = msgspec.field(default_factory=_Metrics)


def aiperf(path: Path) -> Reading:
    """AIPerf's `profile_export.jsonl`, a record a request; warm-up is left out, failed requests count as such."""
    records = [r for r in decode(path, _AiperfRecord) if r.metadata.benchmark_phase == "profiling"]
    start = np.array([r.metadata.request_start_ns for r in records]) / 1e9
    prompt = np.array([_value(r.metrics.input_sequence_length) for r in records])
    output = np.array([_value(r.metrics.output_sequence_length) for r in records])
    return _reading(path, "aiperf", start, prompt, output)


def guidellm(path: Path, *, benchmark: int = 0) -> Reading:
    """GuideLLM's `benchmarks.json`: the successful requests of one of its benchmarks, and how many failed.

    Args:
        path: the JSON file.
        benchmark: which of the file's benchmarks, from 0.
    """
    runs = _document(path).get("benchmarks") or []
    if not 0 <= benchmark < len(runs):
        raise InputError(f"{path}: benchmark", str(benchmark), f"a number from 0 to {len(runs) - 1}")
    groups = runs[benchmark].get("requests", {})
    served, failed = groups.get("successful") or [], groups.get("errored") or []
    rows = [[_guidellm_field(path, i, r, *names) for names in _GUIDELLM] for i, r in enumerate(served)]
    if not rows:
        raise InputError(f"{path}: benchmarks[{benchmark}].requests.successful", "no requests", "at least one")
    start, prompt, output = np.array(rows, dtype=np.float64).T
    reading = _reading(path, "guidellm", start, prompt, output)
    left_out = {**reading.left_out, "failed": len(failed)} if failed else reading.left_out
    return Reading(reading.workload, "guidellm", left_out)


_GUIDELLM = (
    ("start_time", "request_start_time"),
    ("prompt_tokens", "prompt_tokens_count"),
    ("output_tokens", "output_tokens_count"),
)


def _guidellm_field(path: Path, row: int, record: dict[str, Any], *names: str) -> float:
    found = next((record[name] for name in names if isinstance(record.get(name), int | float)), None)
    if found is None:
        raise InputError(f"{path}: successful[{row}]", f"fields {', '.join(record)}", f"a number {' or '.join(names)}")
    return float(found)


def _value(measured: _Measured | None) -> float:
    return 0.0 if measured is None else measured.value


def _document(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"broken JSON ({error})", "one JSON object") from None
    if not isinstance(record, dict):
        raise InputError(str(path), f"a JSON {type(record).__name__}", "one JSON object")
    return record


def _reading(
    path: Path, format: str, start: np.ndarray, prompt: np.ndarray, output: np.ndarray, notes: tuple[str, ...] = ()
) -> Reading:
    if not len(start) == len(prompt) == len(output):
        raise InputError(
            str(path), f"{len(start)} times, {len(prompt)} prompts, {len(output)} outputs", "as many of each"
        )
    order = np.argsort(start, kind="stable")
    start, prompt, output = start[order], prompt[order], output[order]
    chosen, left_out = keep(path, {"failed": output > 0, "empty prompt": prompt > 0})
    workload = Workload.of(start[chosen] - start[0], prompt[chosen], output[chosen], name=path.stem)
    return Reading(workload, format, left_out, notes)
