"""One instance whose requests' priorities change while they run: the setting of FastSwitch (arXiv 2411.18424).

The engine is that of vLLM 0.3.3: continuous batching, prompts in steps of their own, paged KV. Conversations have
turns; between turns, and when a request loses its place, the KV goes to CPU memory by the swap mechanism. Every 1/f
iterations the priorities change; the requests of highest priority that fit are served, the others leave the GPU.
"""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError
from rota.core.registry import make
from rota.serving.model import BLOCK, Instance, Ints, Workload
from rota.serving.preemptive_clockwork import Clockwork
from rota.serving.preemptive_run import PreemptiveRun
from rota.serving.priorities import iterations_between, trace
from rota.serving.swap_audit import Event
from rota.serving.swapping import Mechanism


def simulate_preemptive(
    instance: Instance,
    workload: Workload,
    swap: object = "reuse",
    priorities: str = "markov",
    frequency: float = 0.04,
    seed: int = 0,
    audit: bool = False,
) -> PreemptiveRun:
    """Serve a workload of conversations on one instance under priorities that change.

    Args:
        instance: the engine (its prompts run whole, whatever `prefill` says), its KV memories and their link.
        workload: requests; turns of a conversation are linked by `parent`, and a prompt holds all that was said before.
        swap: a policy of domain `serving.swap`.
        priorities: the trace, `random` or `markov`.
        frequency: priority updates an engine iteration (0.04: every 25 iterations).
        seed: root seed of the priorities.
        audit: keep what `rota.serving.verify_swap` needs.

    Raises:
        InputError: no request, a request that cannot fit into the instance, a conversation that branches, or one whose
            later prompt is shorter than what was said before.
    """
    if not len(workload):
        raise InputError(workload.name, "no request", "at least one")
    owner, child = _conversations(workload)
    check_fit(instance, workload)
    mechanism: Mechanism = make("serving.swap", swap).mechanism
    rows = trace(priorities, int(owner.max(initial=0)) + 1, seed)
    events: list[Event] | None = [] if audit else None
    return Clockwork(instance, workload, owner, child, mechanism, rows, iterations_between(frequency), events).run()


def _conversations(workload: Workload) -> tuple[Ints, Ints]:
    """Of each request: its conversation (numbered from 0) and the request that is the next turn (-1: none)."""
    if len(workload.joins):
        raise InputError(f"{workload.name}: joins", f"{len(workload.joins)} of them", "conversations, which have none")
    n = len(workload)
    owner, child = np.zeros(n, dtype=np.int64), np.full(n, -1)
    begun = 0
    for i, parent in enumerate(workload.parent.tolist()):
        owner[i] = owner[parent] if parent >= 0 else begun
        begun += parent < 0
        if parent >= 0:
            _check_turn(workload, i, parent, child[parent])
            child[parent] = i
    return owner, child


def _check_turn(workload: Workload, i: int, parent: int, sibling: int) -> None:
    if sibling >= 0:
        raise InputError(
            f"{workload.name}: parent, row {i}", f"{parent}, as in row {sibling}", "one next turn for a request"
        )
    said = int(workload.prompt[parent] + workload.output[parent])
    if workload.prompt[i] < said:
        raise InputError(
            f"{workload.name}: prompt, row {i}", f"{workload.prompt[i]}", f"at least the {said} tokens said before"
        )


def check_fit(instance: Instance, workload: Workload) -> None:
    """Raise InputError for the first request that the instance could not hold."""
    need = workload.prompt + workload.output
    for i in np.flatnonzero(-(-need // BLOCK) > instance.blocks)[:1].tolist():
        raise InputError(
            f"{workload.name}: request {i}",
            f"{need[i]} tokens",
            f"at most {instance.blocks * BLOCK}, the KV memory of {instance.name}",
        )
