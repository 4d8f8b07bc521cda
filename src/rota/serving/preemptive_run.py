"""What a run of the preemptive engine gives back, and the diary it is written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rota.core.errors import InputError
from rota.core.stats import weighted_quantiles
from rota.core.timeline import Recorder, Timeline
from rota.serving.model import BLOCK, Floats, Instance, Ints, Workload
from rota.serving.swap_audit import Event
from rota.serving.swapping import Copy, Traffic

KINDS = ("queue", "prefill", "decode", "swap-out", "swap-in", "stall")
RESOURCES = ("queue", "gpu", "gpu-to-cpu", "cpu-to-gpu")
WHERE = {"queue": 0, "prefill": 1, "decode": 1, "swap-out": 2, "swap-in": 3, "stall": 1}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True)
class PreemptiveRun:
    """One run of one instance under changing priorities.

    Attributes:
        timeline: who was queued, prefilled, decoded, copied when; `stall` rows (task `engine`) are when it stood still.
        metrics: figures by name: `ttft_*`, `tbt_*` (every gap between tokens of a request, its time off the GPU
            included), `e2e_*` in seconds, `throughput_rps`, `output_tps`, `stall_seconds`, `stall_share`,
            `preemptions`, `bytes_out`, `bytes_in`, `calls`, `conflicts`, `contaminated` (blocks of CPU copies given
            up), `prefill_tokens`, `makespan`.
        requests: (n,) columns: arrival, first_token, finish, ttft, tpot, e2e, preemptions.
        gaps: (m, 2) times between tokens and how many there were of each.
        audit: events for `check`; empty unless asked for.
        instance: the engine.
    """

    timeline: Timeline = field(repr=False)
    metrics: dict[str, float]
    requests: dict[str, np.ndarray] = field(repr=False)
    gaps: Floats = field(repr=False)
    audit: Sequence[Event] = field(repr=False)
    instance: Instance = field(repr=False)

    def check(self) -> None:
        """Hold the run against the rules of memory (`verify_swap`).

        Raises:
            RuleViolation: broken rules, one sentence each.
            InputError: the run kept no audit.
        """
        from rota.serving.verify_swap import verify_swap

        if not self.audit:
            raise InputError("check", "a run without an audit", "one made with audit=True")
        kind = self.instance
        verify_swap(self.audit, kind.blocks, kind.cpu_blocks, BLOCK * kind.kv_bytes / kind.swap.bandwidth)

    def __repr__(self) -> str:
        m = self.metrics
        return (
            f"PreemptiveRun({len(self.requests['arrival'])} requests on {self.instance.name}: ttft {m['ttft_mean']:.3g} s "
            f"(p99 {m['ttft_p99']:.3g}), tbt {m['tbt_mean'] * 1e3:.3g} ms, stalled {m['stall_share']:.2%})"
        )


@dataclass
class Diary:
    """Takes a run down while it happens, as cheaply as can be."""

    workload: Workload

    def __post_init__(self) -> None:
        n = len(self.workload)
        self.arrival = np.full(n, np.nan)
        self.first_token = np.full(n, np.nan)
        self.finish = np.full(n, np.nan)
        self.last_token = np.full(n, np.nan)
        self.preemptions = np.zeros(n, dtype=np.int64)
        self.stall_seconds = 0.0
        self.prefill_tokens = 0
        self._open: dict[int, tuple[int, float]] = {}
        self._rows: list[tuple[int, int, float, float]] = []
        self._gaps: list[Floats] = []
        self._weights: list[Floats] = []

    def enter(self, request: int, kind: str, now: float) -> None:
        """The request leaves the state it was in and is now in state `kind`."""
        self.leave(request, now)
        self._open[request] = (KINDS.index(kind), now)

    def leave(self, request: int, now: float) -> None:
        """The request leaves the state it was in."""
        if request in self._open:
            kind, since = self._open.pop(request)
            self._row(request, kind, since, now)

    def copied(self, request: int, copy: Copy) -> None:
        """A copy of the request's KV was issued."""
        self._row(request, KINDS.index("swap-out" if copy.outward else "swap-in"), copy.start, copy.end)

    def stalled(self, start: float, end: float) -> None:
        """The engine stood still."""
        self.stall_seconds += end - start
        self._row(len(self.workload), KINDS.index("stall"), start, end)

    def prefilled(self, request: int, tokens: int, end: float) -> None:
        """The request got a token from a prefill of `tokens` tokens: its first one, or one after a loss of KV."""
        self.prefill_tokens += tokens
        if np.isnan(self.first_token[request]):
            self.first_token[request] = end
        else:
            self._gap(np.array([end - self.last_token[request]]), 1.0)
        self.last_token[request] = end

    def decoded(self, batch: Ints, start: float, first: float, slope: float, steps: int, end: float) -> None:
        """The batch got `steps` tokens each; step j (from 0) took `first + slope * j` seconds."""
        self._gap(np.asarray(start + first - self.last_token[batch], np.float64), 1.0)
        if steps > 1:
            rest = (first + slope * np.arange(1, steps)).astype(np.float64)
            self._gap(rest, float(len(batch)))
        self.last_token[batch] = end

    def close(self, instance: Instance, output: Ints, traffic: Traffic, audit: Sequence[Event]) -> PreemptiveRun:
        """The run, once every request has finished."""
        gaps = np.column_stack([np.concatenate([*self._gaps, []]), np.concatenate([*self._weights, []])])
        requests = {
            "arrival": self.arrival, "first_token": self.first_token, "finish": self.finish,
            "ttft": self.first_token - self.arrival, "e2e": self.finish - self.arrival,
            "tpot": (self.finish - self.first_token) / np.maximum(output - 1, 1), "preemptions": self.preemptions,
        }  # fmt: skip
        metrics = self._metrics(requests, gaps, output, traffic)
        return PreemptiveRun(self._timeline(), metrics, requests, gaps, audit, instance)

    def _metrics(
        self, requests: dict[str, np.ndarray], gaps: Floats, output: Ints, traffic: Traffic
    ) -> dict[str, float]:
        makespan = float(self.finish.max() - np.min(self.arrival))
        ones = np.ones(len(output))
        found = _summary("ttft", requests["ttft"], ones) | _summary("e2e", requests["e2e"], ones)
        found |= _summary("tpot", requests["tpot"], ones) | _summary("tbt", gaps[:, 0], gaps[:, 1])
        found |= {name: float(value) for name, value in vars(traffic).items()}
        return found | {
            "makespan": makespan, "throughput_rps": len(output) / makespan, "output_tps": float(output.sum()) /
            makespan, "stall_seconds": self.stall_seconds, "stall_share": self.stall_seconds / makespan,
            "preemptions": float(self.preemptions.sum()), "prefill_tokens": float(self.prefill_tokens),
        }  # fmt: skip

    def _timeline(self) -> Timeline:
        recorder = Recorder()
        tasks = [*(f"request {i}" for i in range(len(self.workload))), "engine"]
        recorder.names(task=tasks, resource=list(RESOURCES), kind=list(KINDS))
        task, kind, start, end = np.array(self._rows).reshape(-1, 4).T
        where = np.array([WHERE[name] for name in KINDS])
        recorder.extend(task.astype(int), where[kind.astype(int)], kind.astype(int), start, end)
        return recorder.freeze()

    def _row(self, task: int, kind: int, start: float, end: float) -> None:
        if end > start:
            self._rows.append((task, kind, start, end))

    def _gap(self, values: Floats, weight: float) -> None:
        self._gaps.append(values)
        self._weights.append(np.full(len(values), weight))


def _summary(name: str, values: Floats, weights: Floats) -> dict[str, float]:
    mean = float(np.average(values, weights=weights)) if len(values) else float("nan")
    found = weighted_quantiles(values, weights, list(QUANTILES.values()))
    return {f"{name}_mean": mean} | {f"{name}_{q}": float(v) for q, v in zip(QUANTILES, found, strict=True)}
