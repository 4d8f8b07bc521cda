"""The clockwork of offline generation: applies a placement, advances time, writes the Timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rota.core import registry
from rota.core.errors import RuleViolation
from rota.core.timeline import Recorder, Timeline
from rota.serving.residency import cost
from rota.serving.residency.model import Floats, Ints, OfflineBatch, Placement


@dataclass(frozen=True)
class ResidencyRun:
    """An offline generation, done.

    Attributes:
        problem, placement: what was generated, and where the KV was.
        timeline: task `step j`, resource `gpu` or `pcie`, kind as in `cost.work` and `cost.transfers`; column `tokens`
            is how many the work is about.
        metrics: throughput_tps (output tokens/s), seconds, gpu_busy and pcie_busy (shares), `KIND_seconds` for each
            kind, loaded_bytes, stored_bytes, recomputed_tokens, gpu_peak_bytes, cpu_peak_bytes, phase2_step and
            phase3_step (first step with tokens off the GPU, with dropped ones; the number of steps if there is none),
            and what the policy chose (e.g. alpha, beta).
    """

    problem: OfflineBatch
    placement: Placement
    timeline: Timeline
    metrics: dict[str, float]

    def __repr__(self) -> str:
        m = self.metrics
        return (
            f"ResidencyRun({self.problem.batch} x ({self.problem.prompt}, {self.problem.output}) on {self.problem.model.name}/"
            f"{self.problem.device.name}: {m['throughput_tps']:.4g} tokens/s, {m['seconds']:.4g} s, link busy {m['pcie_busy']:.0%})"
        )

    def check(self) -> None:
        """Hold the run against the rules.

        Raises:
            RuleViolation: memory over capacity, attention on a token that is not there, bytes that do not add up, ...
        """
        from rota.serving.verify_residency import verify

        broken = verify(self)
        if broken:
            raise RuleViolation(broken)


def simulate_residency(problem: OfflineBatch, policy: Any) -> ResidencyRun:
    """Generate the batch with its KV placed by a `serving.residency` policy.

    Args:
        problem: what to generate, on what.
        policy: an object, a class or a spec string, e.g. `sparse-window(ratio=0.2)`.

    Raises:
        Infeasible: the policy finds no placement within memory.
        UnknownName, InputError: an unusable spec.
    """
    placement = registry.make("serving.residency", policy).plan(problem)
    timeline, ends = _write(problem, placement)
    return ResidencyRun(problem, placement, timeline, _metrics(problem, placement, float(ends[-1])))


def _write(problem: OfflineBatch, placement: Placement) -> tuple[Timeline, Floats]:
    """The timeline, and (steps,) when each step ends. Transfers begin with their step, GPU work ends with it."""
    work, moves = cost.work(problem, placement), cost.transfers(problem, placement)
    ends = np.cumsum(cost.step_seconds(problem, placement))
    begin = np.append(0.0, ends[:-1])
    recorder = Recorder(columns=("tokens",))
    recorder.names(task=[f"step {j}" for j in range(len(ends))], resource=["gpu", "pcie"], kind=[*work, *moves])
    gpu = np.maximum(ends - sum(work.values()), begin)
    for resource, start, parts, first in ((0, gpu, work, 0), (1, begin, moves, len(work))):
        for code, (kind, seconds) in enumerate(parts.items(), first):
            end = np.minimum(start + seconds, ends)
            busy = np.flatnonzero(seconds > 0)
            tokens = _tokens(kind, placement)[busy]
            recorder.extend(busy, resource, code, start[busy], end[busy], tokens=tokens)
            start = end
    return recorder.freeze(), ends


def _tokens(kind: str, placement: Placement) -> Ints:
    moved = {"load": placement.loaded, "store": placement.stored, "recompute": placement.recomputed}
    made = placement.decoding + placement.prefill
    return moved.get(kind, made if kind in ("compute", "quantise") else placement.attended)


def _metrics(problem: OfflineBatch, placement: Placement, seconds: float) -> dict[str, float]:
    kinds = {**cost.work(problem, placement), **cost.transfers(problem, placement)}
    total = {kind: float(np.sum(each)) for kind, each in kinds.items()}
    pcie = total["load"] + total["store"]
    kv = problem.model.kv_bytes(placement.kv_bits)
    before = cost.resident_before(placement)
    return {
        "throughput_tps": problem.tokens / seconds,
        "seconds": seconds,
        "gpu_busy": (sum(total.values()) - pcie) / seconds,
        "pcie_busy": pcie / seconds,
        **{f"{kind.replace('-', '_')}_seconds": value for kind, value in total.items()},
        "loaded_bytes": kv * float(placement.loaded.sum()),
        "stored_bytes": kv * float(placement.stored.sum()),
        "recomputed_tokens": float(placement.recomputed.sum()),
        "gpu_peak_bytes": float(cost.peak_bytes(problem, placement, before).max()),
        "cpu_peak_bytes": kv * float(placement.cpu.max()),
        "phase2_step": float(_first(placement.cpu + placement.dropped)),
        "phase3_step": float(_first(placement.dropped)),
        **placement.chosen,
    }


def _first(tokens: Ints) -> int:
    found = np.flatnonzero(tokens > 0)
    return int(found[0]) if len(found) else len(tokens)
