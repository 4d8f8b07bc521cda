"""What a simulation gives back: per-request results, inter-token gaps, load over time, and the Timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rota.core.registry import name_of
from rota.core.timeline import Numbered, Timeline
from rota.serving.kernels.state import CHUNK, EVICTIONS, KINDS, ROWS, SEGMENTS, TOKENS_SAVED
from rota.serving.model import Fleet, Workload

if TYPE_CHECKING:
    from rota.serving.simulate import Simulation


@dataclass(frozen=True, eq=False)
class Run:
    """The outcome of one simulation.

    Attributes:
        fleet, workload: what was run.
        policies: name of each policy in force, by kind of decision.
        requests: (n,) arrays by name: arrival, dispatched, admitted, first_token, finish, instance, ttft, tpot, e2e,
            queue (wait before the first admission), preemptions, preemption_loss (seconds of extra queueing and
            recomputation), migrations, downtime, cached (prompt tokens found in the prefix cache). Seconds, tokens.
        gaps: structured array of inter-token gaps: `weight` requests each saw `count` gaps first, first + slope, ...
        load: (k,) arrays: time, running, waiting, kv_usage (0..1), instances.
        service: (instance, from, to) while each instance was paid for.
        moves: (request, source, target, started, left the source, resumed) of every completed migration.
        counts: totals: migrations, aborted_source, aborted_target, migrated_bytes, tokens_saved, evictions, peak_blocks, busy.
    """

    fleet: Fleet
    workload: Workload
    policies: Mapping[str, str]
    requests: Mapping[str, np.ndarray]
    gaps: np.ndarray
    load: Mapping[str, np.ndarray]
    service: Sequence[tuple[int, float, float]]
    moves: Sequence[tuple[int, int, int, float, float, float]]
    counts: Mapping[str, float]
    rows: np.ndarray

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every figure of `metrics.py`, by name."""
        from rota.serving.metrics import metrics

        return metrics(self)

    @cached_property
    def timeline(self) -> Timeline:
        """One row for each phase of a request: queue, prefill, decode, preempted, migrate, swapped; column `blocks`: KV held at its end."""
        rows = self.rows
        resources = [f"{i}:{kind.name}" for i, kind in enumerate(self.fleet.kinds)]
        return Timeline(
            rows["request"], rows["instance"], rows["kind"], rows["start"], rows["end"],
            Numbered("r", len(self.workload)), resources, KINDS, {"blocks": rows["blocks"]},
        )  # fmt: skip

    def check(self) -> None:
        """Hold the outcome against the rules of serving; raises `RuleViolation` naming each broken one."""
        from rota.core.verify import require
        from rota.serving.verify import violations

        require(violations(self, order=self.policies.get("order")))

    def __repr__(self) -> str:
        m = self.metrics
        return (
            f"Run({self.workload.name} on {self.fleet.name}: {len(self.workload)} requests, "
            f"ttft {m['ttft_mean']:.3g} s (p99 {m['ttft_p99']:.3g}), tpot {m['tpot_mean'] * 1e3:.3g} ms, "
            f"e2e {m['e2e_mean']:.3g} s, {m['throughput_rps']:.3g} req/s)"
        )

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><td>{name}</td><td>{value:.5g}</td></tr>" for name, value in self.metrics.items())
        return f"<p>{self.workload.name} on {self.fleet.name}</p><table>{cells}</table>"


def collect(sim: Simulation) -> Run:
    """The `Run` of a finished simulation."""
    s, count = sim.engines.state, sim.engines.totals
    load = np.array(sim.load, float).reshape(-1, 5)
    return Run(
        fleet=sim.fleet, workload=sim.workload,
        policies={kind: name_of(policy) for kind, policy in sim.policies.items()},
        requests=_per_request(s.req), gaps=s.segments[: count[SEGMENTS]].copy(),
        load=dict(zip(("time", "running", "waiting", "kv_usage", "instances"), load.T.copy(), strict=True)),
        service=tuple(sim.service.intervals), moves=tuple(sim.moves.log), rows=s.rows[: count[ROWS]].copy(),
        counts={
            "migrations": sim.moves.completed, "aborted_source": sim.moves.aborted_source, "aborted_target": sim.moves.aborted_target,
            "migrated_bytes": sim.moves.bytes, "tokens_saved": int(count[TOKENS_SAVED]), "evictions": int(count[EVICTIONS]),
            "peak_blocks": int(s.inst["peak_blocks"].max()), "busy": float(s.inst["busy"].sum()), "chunk": int(count[CHUNK]),
        },
    )  # fmt: skip


def _per_request(req: np.ndarray) -> dict[str, np.ndarray]:
    """Latencies as the field defines them: TTFT from arrival; TPOT = (e2e - TTFT) / (output - 1), NaN for one token."""
    kept = (
        "arrival",
        "dispatched",
        "admitted",
        "first_token",
        "finish",
        "instance",
        "preemptions",
        "migrations",
        "downtime",
        "cached",
    )
    columns = {name: req[name].copy() for name in kept}
    columns["ttft"] = req["first_token"] - req["arrival"]
    columns["e2e"] = req["finish"] - req["arrival"]
    more = np.where(req["output"] > 1, req["output"] - 1, 1)
    columns["tpot"] = np.where(req["output"] > 1, (columns["e2e"] - columns["ttft"]) / more, np.nan)
    columns["queue"] = req["admitted"] - req["arrival"]
    columns["preemption_loss"] = req["loss"].copy()
    return columns
