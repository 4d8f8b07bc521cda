"""Workflows of agents: a planner fans out to workers, their answers are joined, and what comes next unfolds from there."""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.model import Workload
from rota.serving.workloads.arrivals import renewal
from rota.serving.workloads.laws import Law, law


def workflows(
    n: int = 200,
    rate: float = 0.5,
    *,
    width: float = 4.0,
    rounds: float = 1.5,
    prompt: int | str | Law = 512,
    output: int | str | Law = 128,
    think: float = 0.0,
    seed: int = 0,
) -> Workload:
    """`n` workflows, one session each: a plan, then rounds of parallel workers whose answers are joined by one more request.

    A worker's prompt is new text and the plan's answer; a join's is new text and every worker's answer, and its own answer
    is the plan of the next round. How wide and how long a workflow becomes is drawn as it goes, and no policy knows it.

    Args:
        n: workflows.
        rate: workflows begun a second, Poisson.
        width: mean workers of a round, geometric from 1.
        rounds: mean rounds, geometric from 1.
        prompt: law of the new text of a request, tokens.
        output: law of the answers, tokens.
        think: seconds between a request's last predecessor and its arrival (tools at work).
        seed: root seed.

    Raises:
        InputError: a parameter out of range.
    """
    for name, value in (("width", width), ("rounds", rounds)):
        if not 1 <= value < np.inf:
            raise InputError(f"workflows: {name}", f"{value:g}", "a mean of at least 1")
    if not 0 <= think < np.inf:
        raise InputError("workflows: think", f"{think:g}", "a number of seconds >= 0")
    begun = renewal(stream(seed, "workflows", "begin"), rate, n)
    shape = stream(seed, "workflows", "shape")
    stages: list[tuple[int, int, list[int]]] = []
    for flow in range(n):
        stages.append((flow, 0, []))
        for k in range(shape.geometric(1 / rounds)):
            plan = len(stages) - 1
            workers = list(range(plan + 1, plan + 1 + shape.geometric(1 / width)))
            stages += [(flow, 2 * k + 1, [plan]) for _ in workers]
            stages.append((flow, 2 * k + 2, workers))
    session, turn = [stage[0] for stage in stages], [stage[1] for stage in stages]
    waits = [stage[2] for stage in stages]
    answers = law(output).sample(stream(seed, "workflows", "output"), len(stages))
    said = law(prompt).sample(stream(seed, "workflows", "prompt"), len(stages))
    heard = np.array([answers[earlier].sum() for earlier in waits], np.int64)
    return Workload.of(
        begun[session], said + heard, answers, session=session, turn=turn,
        parent=[earlier[-1] if earlier else -1 for earlier in waits],
        joins=np.array([(row, other) for row, earlier in enumerate(waits) for other in earlier[:-1]], np.int64).reshape(-1, 2),
        think=[think if earlier else 0.0 for earlier in waits], name=f"{n} workflows @ {rate:g}",
    )  # fmt: skip
