"""The verifier of swapping: passes what the clockwork does, and finds every kind of fault put into it."""

from dataclasses import replace

import pytest

from rota.core.errors import RuleViolation
from rota.serving.model import Instance, StepCost, Transfer
from rota.serving.preemptive import simulate_preemptive
from rota.serving.swap_audit import Give, Moved, Step, Take
from rota.serving.verify_swap import verify_swap
from rota.serving.workloads.sessions import sessions

COST = StepCost((0, 64, 512), (0.02, 0.02, 0.09), per_kv_token=3e-7)
KIND = Instance("small", COST, blocks=60, layers=4, prefill="whole", swap=Transfer(3e8), swap_call=3e-5, cpu_blocks=90)
PER_BLOCK = 16 * KIND.kv_bytes / KIND.swap.bandwidth


@pytest.fixture(scope="module", params=["recompute", "per-block", "block-groups", "asynchronous", "reuse"])
def audit(request):
    workload = sessions(20, turns=2.5, rate=2.0, think=0.7, user=40, output=60, max_context=700, seed=1)
    return simulate_preemptive(KIND, workload, request.param, "random", 0.1, audit=True).audit


@pytest.fixture(scope="module")
def reused():
    workload = sessions(20, turns=2.5, rate=2.0, think=0.7, user=40, output=60, max_context=700, seed=1)
    return list(simulate_preemptive(KIND, workload, "reuse", "random", 0.1, audit=True).audit)


def check(events):
    verify_swap(events, KIND.blocks, KIND.cpu_blocks, PER_BLOCK)


def find(events, wanted):
    return next(i for i, event in enumerate(events) if wanted(event))


def test_runs_keep_the_rules(audit):
    check(audit)


def test_a_memory_that_is_smaller_than_used(reused):
    with pytest.raises(RuleViolation, match="lies outside its memory"):
        verify_swap(reused, KIND.blocks - 5, KIND.cpu_blocks)
    with pytest.raises(RuleViolation, match="lies outside its memory"):
        verify_swap(reused, KIND.blocks, KIND.cpu_blocks - 5)


def test_a_block_that_is_given_out_twice():
    with pytest.raises(RuleViolation, match="gpu block 3 goes to 2 while 1 has it"):
        check([Take(0.0, "gpu", 1, [3]), Take(0.0, "gpu", 2, [3])])


def test_blocks_freed_under_a_copy(reused):
    i = find(reused, lambda e: isinstance(e, Moved) and e.outward)
    moved = reused[i]
    freed = find(reused[i:], lambda e: isinstance(e, Give) and e.memory == "gpu" and e.owner == moved.owner) + i
    early = [*reused[: i + 1], reused[freed]._replace(time=moved.time)]
    with pytest.raises(RuleViolation, match="are given back under a copy"):
        check(early)


def test_a_step_that_reads_kv_under_a_copy(reused):
    i = find(reused, lambda e: isinstance(e, Moved) and not e.outward)
    moved = reused[i]
    with pytest.raises(RuleViolation, match=r"uses KV of .* under a copy"):
        check([*reused[: i + 1], Step(moved.time, moved.end, [moved.owner], [moved.tokens], [moved.tokens + 1])])


def test_a_copy_that_moves_more_or_less_than_is_new(reused):
    i = find(reused, lambda e: isinstance(e, Moved) and e.outward and len(e.gpu) > 1)
    cut = reused[i]._replace(gpu=reused[i].gpu[1:], cpu=reused[i].cpu[1:])
    with pytest.raises(RuleViolation, match="moves other gpu blocks"):
        check([*reused[:i], cut])
    with pytest.raises(RuleViolation, match="claims"):
        check([*reused[:i], reused[i]._replace(tokens=reused[i].tokens - 1)])


def test_a_copy_faster_than_its_link_or_on_a_busy_one(reused):
    i = find(reused, lambda e: isinstance(e, Moved))
    with pytest.raises(RuleViolation, match="faster than its link"):
        check([*reused[:i], reused[i]._replace(end=reused[i].start)])
    j = find(reused, lambda e: isinstance(e, Moved) and e.start > e.time)
    with pytest.raises(RuleViolation, match="before its link is free"):
        check([*reused[:j], reused[j]._replace(start=reused[j].time)])


def test_steps_that_read_or_write_what_is_not_there():
    taken = Take(0.0, "gpu", 1, [0])
    with pytest.raises(RuleViolation, match="reads 5 tokens of 1; 0 are there"):
        check([taken, Step(0.0, 1.0, [1], [5], [6])])
    with pytest.raises(RuleViolation, match="writes 1 up to 17"):
        check([taken, Step(0.0, 1.0, [1], [0], [17])])
    with pytest.raises(RuleViolation, match="time runs backwards"):
        check([taken._replace(time=1.0), Step(0.0, 1.0, [1], [0], [16])])


def test_an_instance_that_is_faster_than_its_link_is_found():
    workload = sessions(20, turns=2.5, rate=2.0, think=0.7, user=40, output=60, max_context=700, seed=1)
    fast = replace(KIND, swap=Transfer(1e12), swap_call=0.0)
    audit = simulate_preemptive(fast, workload, "reuse", "random", 0.1, audit=True).audit
    with pytest.raises(RuleViolation, match="faster than its link"):
        check(audit)
