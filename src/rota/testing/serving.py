"""Random views of serving, and what a serving policy may answer to them.

The views are consistent (no more blocks free than there are, requests that wait need blocks), but owe nothing to the
simulator. Their arrays can be written to, so that a policy that does is found out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from rota.serving.lengths import LengthDistribution
from rota.serving.model import Instance, RequestView, StepCost, blocks_for
from rota.serving.views import BatchView, FleetView, QueueView
from rota.testing.policies import Question, Questions

Random = np.random.Generator
TENANTS = 3


@dataclass(frozen=True)
class Cache:
    """The prefix caches of a fleet: instance i holds the share `shares[i]` of any prompt."""

    shares: NDArray[np.float64]

    def __call__(self, request: RequestView) -> NDArray[np.int64]:
        """(n,) cached prompt tokens."""
        return (self.shares * request.prompt).astype(np.int64)


def instance(rng: Random) -> Instance:
    """An instance with a linear step cost."""
    cost = StepCost((0.0, 1.0), (0.0, float(rng.uniform(1e-5, 1e-3))), decode_base=0.01, prefill_base=0.01)
    return Instance(f"kind-{rng.integers(100)}", cost, int(rng.integers(64, 4096)))


def request_view(rng: Random, id: int = 0, now: float = 100.0) -> RequestView:
    """A request that has arrived by `now`, with a predicted length, now and then preempted or part of a session."""
    session = int(rng.integers(-1, 20))
    return RequestView(
        id=id,
        arrival=float(rng.uniform(0, now)),
        prompt=int(rng.integers(1, 4000)),
        priority=int(rng.integers(0, 2)),
        tenant=int(rng.integers(TENANTS)),
        session=session,
        turn=0 if session < 0 else int(rng.integers(5)),
        prefix=tuple(rng.integers(0, 2**40, rng.integers(4)).tolist()),
        predicted=LengthDistribution.of(np.unique(rng.integers(50, 1000, 8))),
        generated=int(rng.integers(0, 40)) if rng.random() < 0.2 else 0,
    )


def fleet_view(rng: Random, size: int | None = None, now: float = 100.0) -> FleetView:
    """A fleet of 1 to 8 instances of which at least one accepts; some drain, start, migrate, are full or idle."""
    n = int(rng.integers(1, 9)) if size is None else size
    kinds = tuple(instance(rng) for _ in range(n))
    total = np.array([kind.blocks for kind in kinds])
    accepting = rng.random(n) < 0.8
    accepting[rng.integers(n)] = True
    active = accepting | (rng.random(n) < 0.5)
    share_free = rng.choice([0.0, 1.0, *rng.random(6)], n)
    free = (share_free * total).astype(np.int64)
    running, waiting = np.where(free < total, rng.integers(1, 60, n), 0), rng.integers(0, 3, n) * rng.integers(0, 20, n)
    head = np.where(waiting > 0, rng.integers(1, 60, n), 0)
    sent = rng.integers(0, 4, n)
    return FleetView(
        now=now,
        as_of=now - rng.random(n),
        accepting=accepting,
        active=active,
        total=total,
        free=free,
        watermark=total // 100,
        running=running,
        waiting=waiting,
        waiting_blocks=head + np.maximum(waiting - 1, 0) * 20,
        head_blocks=head,
        urgent=np.minimum(running + waiting, rng.integers(0, 3, n)),
        killed=np.minimum(waiting, rng.integers(0, 3, n)),
        kv_tokens=(total - free) * 16,
        prefill_tokens=waiting * 200,
        sent=sent,
        sent_blocks=sent * 20,
        sent_tokens=sent * 320,
        migrating=rng.random(n) < 0.2,
        kinds=kinds,
        cached=Cache(rng.random(n) * (rng.random(n) < 0.5)),
    )


def batch_view(rng: Random, instance: int = 0, now: float = 100.0) -> BatchView:
    """1 to 20 running requests, some in their prefill; in a batch now and then nothing is movable."""
    n = int(rng.integers(1, 21))
    prompt, decoding = rng.integers(1, 4000, n), rng.random(n) < 0.8
    generated = np.where(decoding, rng.integers(1, 500, n), 0)
    return BatchView(
        now=now,
        instance=instance,
        id=rng.permutation(1000)[:n],
        priority=rng.integers(0, 2, n),
        tenant=rng.integers(0, TENANTS, n),
        prompt=prompt,
        generated=generated,
        blocks=np.array([blocks_for(int(tokens)) for tokens in prompt + generated]),
        decoding=decoding,
        movable=decoding & (rng.random(n) < 0.8) & (rng.random() < 0.9),
    )


def queue_view(rng: Random, now: float = 100.0) -> QueueView:
    """1 to 12 waiting requests of three tenants, in order of arrival."""
    ids = rng.permutation(1000)[: rng.integers(1, 13)].tolist()
    requests = tuple(sorted((request_view(rng, id, now) for id in ids), key=lambda request: request.arrival))
    return QueueView(
        now=now,
        instance=int(rng.integers(8)),
        requests=requests,
        cached=np.array([int(rng.integers(0, r.prompt + 1)) for r in requests]),
        free=int(rng.integers(0, 2000)),
        service_in=rng.integers(0, 10**6, TENANTS),
        service_out=rng.integers(0, 10**6, TENANTS),
        running_tenants=rng.integers(0, 20, TENANTS),
    )


def dispatch_questions(rng: Random) -> list[Question]:
    """Where ten requests go, one after another, in a fleet that changes between them."""
    size = int(rng.integers(1, 9))
    pairs = [(request_view(rng, number), fleet_view(rng, size, 100.0 + number)) for number in range(10)]
    return [Question(methodcaller("choose", *pair), pair, partial(_judge_choice, pair[1])) for pair in pairs]


def reschedule_questions(rng: Random) -> list[Question]:
    """Which instances are paired, which request moves, and where one goes after its first token; five times each."""
    questions, size = [], int(rng.integers(1, 9))
    for number in range(5):
        fleet, batch = fleet_view(rng, size, 100.0 + number), batch_view(rng)
        request, source = request_view(rng, number), int(rng.choice(np.flatnonzero(fleet.active)))
        where = (request, source, fleet)
        questions += [
            Question(methodcaller("pairs", fleet), (fleet,), partial(_judge_pairs, fleet)),
            Question(methodcaller("victim", batch), (batch,), partial(_judge_move, batch)),
            Question(methodcaller("target", *where), where, partial(_judge_target, source, fleet)),
        ]
    return questions


def scale_questions(rng: Random) -> list[Question]:
    """How the number of instances should change, ten times, ten seconds apart."""
    size = int(rng.integers(1, 9))
    fleets = [fleet_view(rng, size, 100.0 + 10 * number) for number in range(10)]
    return [Question(methodcaller("change", fleet), (fleet,), partial(_judge_change, fleet)) for fleet in fleets]


def order_questions(rng: Random) -> list[Question]:
    """The ranks of ten queues, and of the same queues with other identities of requests."""
    questions = []
    for queue in (queue_view(rng, 100.0 + number) for number in range(10)):
        names = rng.permutation(len(queue.requests)) + 5000
        others = tuple(structs.replace(r, id=int(name)) for r, name in zip(queue.requests, names, strict=True))
        renamed = replace(queue, requests=others)
        questions.append(Question(partial(_both_ranks, queue, renamed), (queue, renamed), partial(_judge_ranks, queue)))
    return questions


def preempt_questions(rng: Random) -> list[Question]:
    """Whom to preempt in ten batches."""
    batches = [batch_view(rng) for _ in range(10)]
    return [Question(methodcaller("victim", batch), (batch,), partial(_judge_victim, batch)) for batch in batches]


QUESTIONS: dict[str, Questions] = {
    "serving.dispatch": dispatch_questions,
    "serving.reschedule": reschedule_questions,
    "serving.scale": scale_questions,
    "serving.order": order_questions,
    "serving.preempt": preempt_questions,
}
"""Domains whose decisions are asked for one by one; of the others only what holds for every policy is checked."""


def _judge_choice(fleet: FleetView, answer: Any) -> list[str]:
    if not _is_index(answer, len(fleet)):
        return [f"choose gives {answer!r}, not the index of one of {len(fleet)} instances"]
    return [] if fleet.accepting[answer] else ["choose gives an instance that does not accept requests"]


def _judge_pairs(fleet: FleetView, answer: Any) -> list[str]:
    flat = [instance for pair in answer for instance in pair]
    if any(len(pair) != 2 for pair in answer) or not all(_is_index(instance, len(fleet)) for instance in flat):
        return [f"pairs gives {answer!r}, not pairs of two of {len(fleet)} instances"]
    rules = {
        "pairs takes an instance twice": len(set(flat)) == len(flat),
        "pairs takes an instance that is migrating already": not any(fleet.migrating[i] for i in flat),
        "pairs takes a source that runs nothing": all(fleet.active[s] and fleet.running[s] for s, _ in answer),
        "pairs takes a destination that does not accept requests": all(fleet.accepting[d] for _, d in answer),
    }
    return [text for text, kept in rules.items() if not kept]


def _judge_move(batch: BatchView, answer: Any) -> list[str]:
    movable = answer is None or answer in batch.id[batch.movable]
    return [] if movable else [f"victim gives {answer!r}, which is not the identity of a movable request"]


def _judge_target(source: int, fleet: FleetView, answer: Any) -> list[str]:
    if answer is None:
        return []
    able = fleet.accepting & ~fleet.migrating
    allowed = _is_index(answer, len(fleet)) and answer != source and able[answer]
    return [] if allowed else [f"target gives {answer!r}, not another instance that accepts and is not migrating"]


def _judge_change(fleet: FleetView, answer: Any) -> list[str]:
    if not isinstance(answer, int) or isinstance(answer, bool):
        return [f"change gives {answer!r}, not an int"]
    most = int(fleet.accepting.sum())
    return [] if answer >= -most else [f"change drains {-answer} instances where {most} accept requests"]


def _both_ranks(queue: QueueView, renamed: QueueView, policy: Any) -> tuple[Any, Any]:
    twin = copy.deepcopy(policy)
    return policy.rank(queue), twin.rank(renamed)


def _judge_ranks(queue: QueueView, answer: Any) -> list[str]:
    ranks, renamed = answer
    if not isinstance(ranks, np.ndarray) or ranks.shape != (len(queue.requests),) or not np.isfinite(ranks).all():
        return ["rank does not give a finite number for each request"]
    return [] if np.array_equal(ranks, renamed) else ["rank depends on the identities of requests"]


def _judge_victim(batch: BatchView, answer: Any) -> list[str]:
    return [] if _is_index(answer, len(batch.id)) else [f"victim gives {answer!r}, not a position in the batch"]


def _is_index(value: Any, size: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size
