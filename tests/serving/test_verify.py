"""The verifier: silent about correct runs of every kind, and naming each way in which one was corrupted."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import engine, fleet, requests

from rota.core.errors import RuleViolation
from rota.serving.model import Fleet, Transfer, Workload
from rota.serving.simulate import simulate
from rota.serving.verify import fairness_violations, violations
from rota.serving.verify_tokens import DECODE, MIGRATE, PREEMPTED, PREFILL, QUEUE, SWAPPED

DISPATCH = ["round-robin", "freeness", "prefix-aware"]
RESCHEDULE = ["none", "llumnix(interval=0.05)", "balanced(interval=0.05)", "drain(interval=0.05)", "disaggregate"]
SCALE = ["fixed", "queue-length(interval=0.5, per_instance=2)", "freeness-band(interval=0.5)"]


@st.composite
def situations(draw):
    """Fleets of 1 to 4 unequal engines under memory pressure, workloads with shared prefixes and turns, any policies."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    cache = draw(st.booleans())
    kinds = tuple(
        engine(
            blocks=int(rng.integers(40, 90)), max_sequences=int(rng.integers(2, 12)), max_batched_tokens=int(rng.choice([64, 2048])),
            prefill=str(rng.choice(["whole", "chunked"])), prefix_cache=cache, cpu_blocks=int(rng.choice([0, 30, 1000])),
            migration=Transfer(float(rng.choice([1e7, 1e9])), float(rng.choice([0, 0.01]))),
        )
        for _ in range(rng.integers(1, 5))
    )  # fmt: skip
    policies = {
        "dispatch": draw(st.sampled_from(DISPATCH)), "reschedule": draw(st.sampled_from(RESCHEDULE)), "scale": draw(st.sampled_from(SCALE)),
        "order": draw(st.sampled_from(["fcfs", "priority", "vtc", "dlpm"])), "preempt": draw(st.sampled_from(["recompute", "swap"])),
    }  # fmt: skip
    return (
        Fleet(kinds, initial=int(rng.integers(1, len(kinds) + 1)), startup=float(rng.choice([0, 1.0]))),
        chained(rng),
        policies,
    )


def chained(rng, n=50):
    prompt, output = rng.integers(1, 300, n), rng.integers(1, 200, n)
    chains = [np.arange(c * 100, c * 100 + p // 32) for c, p in zip(rng.integers(0, 3, n), prompt, strict=True)]
    parent = np.where(rng.random(n) < 0.3, rng.integers(0, np.maximum(np.arange(n), 1)), -1)
    parent[0] = -1
    return Workload.of(
        np.cumsum(rng.gamma(0.5, 0.2, n)), prompt, output, priority=rng.integers(0, 2, n), parent=parent, think=rng.random(n),
        tenant=rng.integers(0, 2, n), tenants=("a", "b"), prefix_chunk=32,
        prefix_start=np.concatenate([[0], np.cumsum([len(c) for c in chains])]), prefix_hash=np.concatenate(chains),
    )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(situation=situations())
def test_correct_runs_of_every_kind_break_no_rule(situation):
    run = simulate(*situation)
    assert violations(run, situation[2]["order"]) == []


@pytest.fixture(scope="module")
def busy():
    """A run with preemptions by recomputation, and moves."""
    w = requests(60, rate=12, priority=np.arange(60) % 5 == 0)
    run = simulate(
        fleet(3, blocks=60), w, {"dispatch": "round-robin", "reschedule": "llumnix(interval=0.05)", "order": "priority"}
    )
    assert run.counts["migrations"] > 3
    assert run.metrics["preemptions"] > 3
    assert violations(run, "priority") == []
    return run


@pytest.fixture(scope="module")
def swapping():
    run = simulate(fleet(1, blocks=60, prefill="chunked"), requests(40, rate=12), {"preempt": "swap"})
    assert (run.rows["kind"] == SWAPPED).sum() > 3
    assert violations(run) == []
    return run


def with_rows(run, change):
    rows = run.rows.copy()
    return replace(run, rows=change(rows))


def edit(run, which, **values):
    """The longest row of a kind, with other values (a function of the row, or a number)."""
    rows = run.rows.copy()
    own = np.flatnonzero(rows["kind"] == which)
    k = own[np.argmax((rows["end"] - rows["start"])[own])]
    for name, value in values.items():
        rows[name][k] = value(rows[k]) if callable(value) else value
    return replace(run, rows=rows)


def edit_request(run, name, change, request=0):
    column = run.requests[name].copy()
    column[request] = change(column[request])
    return replace(run, requests={**run.requests, name: column})


def edit_move(run, **changes):
    names = ("request", "source", "target", "started", "left", "resumed")
    first = dict(zip(names, run.moves[0], strict=True))
    first |= {name: change(first) for name, change in changes.items()}
    return replace(run, moves=(tuple(first.values()), *run.moves[1:]))


def edit_gap(run, **changes):
    gaps = run.gaps.copy()
    k = int(np.argmax(gaps["count"]))
    for name, change in changes.items():
        gaps[name][k] = change(gaps[name][k])
    return replace(run, gaps=gaps)


def smaller(run, **changes):
    return replace(run, fleet=Fleet(tuple(replace(kind, **changes) for kind in run.fleet.kinds)))


HALF = {"end": lambda r: (r["start"] + r["end"]) / 2}
CORRUPTIONS = {
    "a row is lost": (lambda r: with_rows(r, lambda rows: np.delete(rows, np.flatnonzero(rows["kind"] == PREFILL)[5])), "no prefill of it ends"),
    "a request never ends": (lambda r: edit_request(r, "finish", lambda _: -1.0), "ends at -1"),
    "a request ends late": (lambda r: edit_request(r, "finish", lambda x: x + 1), "its last row at"),
    "a row is there twice": (lambda r: with_rows(r, lambda rows: np.append(rows, rows[:1])), "does not begin when"),
    "decoding stops early": (lambda r: edit(r, DECODE, **HALF), "requests get a token at"),
    "a wait is cut short": (lambda r: edit(r, QUEUE, **HALF), "does not begin when"),
    "a wait is called a decode": (lambda r: edit(r, QUEUE, kind=DECODE), "is no way to begin"),
    "a preempted row is called a move": (lambda r: edit(r, PREEMPTED, kind=MIGRATE), "cannot follow"),
    "a row is on another instance": (lambda r: edit(r, DECODE, instance=lambda x: (x["instance"] + 1) % 3), "cannot follow"),
    "a row lies about its blocks": (lambda r: edit(r, DECODE, blocks=1), "says 1 blocks for"),
    "a first token before its prefill": (lambda r: edit_request(r, "first_token", lambda x: x - 0.001), "when no prefill of it ends"),
    "served before its arrival": (lambda r: replace(r, workload=replace(r.workload, arrival=r.workload.arrival + 0.5)), "before its release"),
    "arrival rewritten": (lambda r: edit_request(r, "arrival", lambda x: x + 0.5), "arrives at"),
    "ttft made up": (lambda r: edit_request(r, "ttft", lambda x: x / 2), "its ttft is"),
    "output not delivered": (lambda r: replace(r, workload=replace(r.workload, output=r.workload.output + 1)), "not its output of"),
    "a token too many": (lambda r: edit_gap(r, count=lambda x: x + 1), "inter-token gaps are recorded"),
    "tokens for somebody who is not there": (lambda r: edit_gap(r, weight=lambda x: x + 1), "requests get a token at"),
    "steps at another time": (lambda r: edit_gap(r, start=lambda x: x + 1e-3), "requests get a token at"),
    "too little memory": (lambda r: smaller(r, blocks=50), "of 50 KV blocks in use"),
    "a move to itself": (lambda r: edit_move(r, target=lambda m: m["source"]), "the move of"),
    "a move that leaves at another time": (lambda r: edit_move(r, left=lambda m: m["left"] - 1e-3), "when it does not stop there"),
    "a move that was never made": (lambda r: replace(r, moves=r.moves[1:]), "belongs to no move"),
    "a move that ends after its request is back": (lambda r: edit_move(r, resumed=lambda m: m["resumed"] + 1), "resumes at"),
    "two moves of one instance at once": (lambda r: edit_move(r, started=lambda m: -1e9, resumed=lambda m: 1e9), "has ended"),
}  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_corruption_is_named(busy, name):
    corrupt, sentence = CORRUPTIONS[name]
    found = violations(corrupt(busy), "priority")
    assert any(sentence in text for text in found), found[:5]


def test_tokens_while_a_request_is_away_are_named(busy):
    """The migrate row is given to the decode that follows: the request would have decoded while it moved."""
    rows = busy.rows.copy()
    k = int(np.flatnonzero(rows["kind"] == MIGRATE)[0])
    after = np.flatnonzero((rows["request"] == rows["request"][k]) & (rows["start"] == rows["end"][k]))
    rows["start"][after] = rows["start"][k]
    found = violations(replace(busy, rows=np.delete(rows, k)))
    assert any("has no row while it is under way" in text for text in found)


def test_a_reservation_on_the_target_counts_as_a_second_copy(busy):
    """A single request moves to a target that has no room for it, while its source has: only the copy can be too much."""
    w = Workload.of([0.0], [320], [400])
    alone = simulate(fleet(2, blocks=60), w, {"reschedule": "disaggregate"})
    assert len(alone.moves) == 1
    full = replace(alone.fleet.kinds[1], blocks=10)
    found = violations(replace(alone, fleet=Fleet((alone.fleet.kinds[0], full))))
    started = alone.moves[0][3]
    assert any(text.startswith("instance 1: 20 of 10 KV blocks") and text.endswith(f"at {started:g}") for text in found)


def test_the_source_keeps_its_copy_until_the_request_has_resumed():
    w = Workload.of([0.0], [320], [400])
    alone = simulate(fleet(2, blocks=60), w, {"reschedule": "disaggregate"})
    _, source, _, _, left, resumed = alone.moves[0]
    other = Workload.of([0.0, left], [320, 320], [400, 1])
    intruder = np.array([(1, source, PREFILL, left, resumed, 20)], alone.rows.dtype)
    columns = {name: np.append(column, column[-1]) for name, column in alone.requests.items()}
    columns |= {
        "first_token": np.array([alone.requests["first_token"][0], resumed]),
        "finish": np.array([alone.requests["finish"][0], resumed]),
    }
    crowded = replace(
        alone,
        workload=other,
        rows=np.append(alone.rows, intruder),
        requests=columns,
        fleet=Fleet((engine(blocks=30), engine())),
    )
    assert any("instance 0: 4" in text and "of 30 KV blocks" in text for text in violations(crowded))


@pytest.mark.parametrize(
    ("change", "sentence"), [({"cpu_blocks": 2}, "of 2 CPU blocks in use"), ({"blocks": 40}, "of 40 KV blocks")]
)
def test_both_memories_are_judged(swapping, change, sentence):
    assert any(sentence in text for text in violations(smaller(swapping, **change)))


def test_shared_prefixes_are_counted_once_and_others_are_not():
    """Ten requests share 512 tokens: they fit together only because they share."""
    n = 10
    start = np.arange(n + 1)
    w = Workload.of(np.arange(n) * 0.3, np.full(n, 520), np.full(n, 60), prefix_start=start, prefix_hash=np.zeros(n))
    run = simulate(fleet(1, blocks=100, prefix_cache=True), w)
    assert run.requests["cached"][1:].min() == 512
    assert violations(run) == []
    apart = replace(run, workload=replace(w, prefix_hash=np.arange(n)))
    assert any("of 100 KV blocks in use" in text for text in violations(apart))


def test_idling_beside_a_queue_is_named():
    w = Workload.of([0.0, 100.0], [50, 50], [20, 20])
    run = simulate(fleet(1), w)
    rows = run.rows.copy()
    late = rows["request"] == 1
    rows["start"][late] += 1.0
    rows["end"][late] += 1.0
    wait = np.array([(1, 0, QUEUE, 100.0, 101.0, 0)], rows.dtype)
    gaps = run.gaps.copy()
    gaps["start"][gaps["start"] > 99] += 1.0
    moved = {name: run.requests[name] + np.array([0.0, 1.0]) for name in ("first_token", "finish", "ttft", "e2e")}
    slow = replace(run, rows=np.append(rows, wait), gaps=gaps, requests={**run.requests, **moved})
    assert violations(slow) == ["r1: queue [100, 101) on instance 0 while nothing runs there at 100"]


def test_overtaking_an_urgent_request_is_named():
    w = requests(60, rate=12, priority=np.arange(60) % 5 == 0)
    run = simulate(fleet(1, blocks=60), w, {"order": "fcfs"})
    assert violations(run) == []
    assert any("is admitted while one of priority 1 or more waits" in text for text in violations(run, "priority"))


def test_fairness_is_broken_by_first_come_first_served():
    run = flood("fcfs")
    broken = fairness_violations(run)
    assert broken
    assert all(text.startswith("instance 0: service of flood and steady differs by") for text in broken)
    assert fairness_violations(flood("vtc")) == []


def flood(order):
    n = 400
    tenant = np.array([0] * 300 + [1] * 100)
    w = Workload.of(
        np.where(tenant == 0, 0.0, 0.001), np.full(n, 40), np.full(n, 24), tenant=tenant, tenants=("flood", "steady")
    )
    return simulate(fleet(1, blocks=16, max_sequences=4, watermark=0.0), w, {"order": order})


def test_check_raises_what_is_found(busy):
    busy.check()
    with pytest.raises(RuleViolation, match="ends at -1"):
        CORRUPTIONS["a request never ends"][0](busy).check()


def test_ten_thousand_requests_take_seconds():
    run = simulate(fleet(16, blocks=785, max_sequences=256), requests(10_000, rate=60, prompt=600, output=500))
    begun = time.perf_counter()
    assert violations(run) == []
    assert time.perf_counter() - begun < 10
