"""Whole fleets: sessions, scaling, disaggregation, mixed kinds, stale reports, determinism, and queues with closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
from small_fleets import COST, engine, fleet, requests
from test_verify import chained

from rota.core.errors import InputError
from rota.serving.model import Fleet, StepCost, Workload
from rota.serving.simulate import simulate
from rota.serving.verify import violations
from rota.serving.verify_tokens import DECODE, PREFILL, QUEUE


def test_turns_are_released_think_seconds_after_their_parent():
    w = requests(9, parent=[-1, 0, 1, -1, 3, 0, -1, -1, 6], think=[0, 1.5, 0.25, 0, 2, 0, 0, 0, 3])
    run = simulate(fleet(2), w, {"dispatch": "session-affinity"})
    child = w.parent >= 0
    np.testing.assert_allclose(run.requests["arrival"][child], run.requests["finish"][w.parent[child]] + w.think[child])
    np.testing.assert_array_equal(run.requests["arrival"][~child], w.arrival[~child])
    assert violations(run) == []


def burst():
    return requests(80, rate=15, prompt=300)


def test_a_started_instance_serves_when_its_start_up_is_over_and_is_paid_for_from_the_decision():
    run = simulate(
        fleet(3, blocks=60, initial=1, startup=2.0),
        burst(),
        {"scale": "queue-length(interval=0.5, per_instance=4)", "dispatch": "least-load"},
    )
    paid = {i: start for i, start, _ in run.service}
    assert sorted(paid) == [0, 1, 2]
    assert (paid[0], paid[1]) == (0.0, 1.0)
    for i in (1, 2):
        assert paid[i] + 2.0 <= run.rows["start"][run.rows["instance"] == i].min() < paid[i] + 3.0


def test_a_draining_instance_takes_nothing_new_empties_and_is_no_longer_paid_for():
    w = requests(60, rate=4, prompt=300, output=80)
    run = simulate(fleet(3), w, {"scale": "queue-length(interval=1.0, low_usage=0.9)", "dispatch": "least-load"})
    assert violations(run) == []
    end = run.requests["finish"].max()
    for i, _, stopped in run.service:
        rows = run.rows[run.rows["instance"] == i]
        assert stopped == pytest.approx(rows["end"].max()) or stopped == pytest.approx(end)
    assert sorted(stopped < end - 1 for *_, stopped in run.service) == [False, True, True]
    assert run.metrics["instances_mean"] < 2
    assert run.load["instances"][-1] == 1


def test_requests_that_wait_on_a_draining_instance_are_dispatched_again():
    w = Workload.of(np.arange(40) * 0.01, np.full(40, 200), np.full(40, 100))
    run = simulate(fleet(2, blocks=40), w, {"scale": Shrink()})
    again = [
        r
        for r in range(40)
        if len(set(run.rows["instance"][(run.rows["request"] == r) & (run.rows["kind"] == QUEUE)])) == 2
    ]
    assert again
    assert run.requests["instance"][again].tolist() == [0] * len(again)
    assert violations(run) == []


class Shrink:
    """Drains one instance at the first opportunity."""

    interval = 1.0

    def __init__(self):
        self.left = 1

    def change(self, fleet):
        self.left -= 1
        return -1 if self.left == 0 else 0


def test_draining_with_migration_is_faster():
    w = Workload.of(np.arange(20) * 0.01, np.full(20, 100), np.full(20, 900))
    waited = {}
    for spec in ("none", "drain(interval=0.05)"):
        run = simulate(fleet(2, blocks=800), w, {"scale": Shrink(), "reschedule": spec})
        waited[spec] = next(stopped for i, _, stopped in run.service if i == 1)
    assert waited["drain(interval=0.05)"] < 0.5 * waited["none"]


def test_prefills_and_decodes_are_kept_apart():
    run = simulate(
        fleet(3, blocks=200),
        requests(30, rate=2, output=300),
        {"dispatch": "prefill-pool", "reschedule": "disaggregate"},
    )
    rows = run.rows
    assert set(rows["instance"][rows["kind"] == PREFILL]) == {0}
    moved = run.requests["migrations"] > 0
    assert moved.mean() > 0.7
    assert set(run.requests["instance"][moved]) == {1, 2}
    assert violations(run) == []


def test_each_model_goes_to_its_own_gpus():
    kinds = (engine(model="small"), engine(model="large"), engine(model="large", cost=replace(COST, decode_base=0.05)))
    w = requests(40, model=np.arange(40) % 2, models=("small", "large"))
    run = simulate(Fleet(kinds), w, {"dispatch": "least-requests"})
    assert set(run.requests["instance"][w.model == 0]) == {0}
    assert set(run.requests["instance"][w.model == 1]) == {1, 2}
    with pytest.raises(InputError, match="model: found 'huge', expected one that the fleet serves"):
        simulate(Fleet(kinds), replace(w, models=("small", "huge")))


def test_faster_gpus_get_more_where_the_policy_sees_them():
    kinds = (engine(), engine(cost=replace(COST, decode_base=0.2)))
    run = simulate(Fleet(kinds), requests(60, rate=5), {"dispatch": "earliest-finish"})
    assert (run.requests["instance"] == 0).mean() > 0.7


@pytest.mark.parametrize("interval", [0.0, 0.7, 5.0])
def test_views_never_show_the_future(interval):
    """Reports are no younger than the moment they are shown, no older than one interval and one step, and tell what was."""
    seen = []
    w = requests(60, rate=8)

    def note(kind, views, answer):
        if kind == "dispatch.choose":
            seen.append((views[1].now, views[1].as_of.copy(), views[1].running.copy(), views[1].kv_tokens.copy()))

    run = simulate(fleet(2, report_interval=interval), w, observe=note)
    longest = max(float(run.gaps["first"].max()), 0.1)
    rows = run.rows[np.isin(run.rows["kind"], (PREFILL, DECODE))]
    for now, as_of, running, _ in seen:
        assert (as_of <= now).all()
        assert (as_of > now - interval - longest).all()
        for i in range(2):
            here = rows[rows["instance"] == i]
            there = ((here["start"] <= as_of[i]) & (here["end"] > as_of[i])).sum()
            before = ((here["start"] < as_of[i]) & (here["end"] >= as_of[i])).sum()
            assert min(there, before) <= running[i] <= max(there, before)


def test_between_reports_the_dispatcher_knows_only_what_it_sent():
    seen = []
    w = Workload.of(np.arange(6) * 0.1, [160] * 6, [50] * 6)

    def note(kind, views, _):
        if kind == "dispatch.choose":
            held = views[1].running.sum() + views[1].waiting.sum()
            seen.append((held, views[1].sent.tolist(), views[1].sent_blocks.sum()))

    simulate(fleet(2, report_interval=10.0), w, observe=note)
    assert [total for total, *_ in seen] == [0] * 6
    assert [sent for _, sent, _ in seen] == [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [3, 2]]
    assert [blocks for *_, blocks in seen] == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(("interval", "gap"), [(0.0, 0.0), (10.0, 0.1)])
def test_a_dispatcher_that_does_not_count_what_it_sent_herds(interval, gap):
    """All come before anything is reported of the first: within a step, or within the interval."""
    w = Workload.of(np.arange(6) * gap, [160] * 6, [50] * 6)
    blind = simulate(fleet(2, report_interval=interval, counts_sent=False), w, {"dispatch": "least-requests"})
    aware = simulate(fleet(2, report_interval=interval), w, {"dispatch": "least-requests"})
    assert np.bincount(aware.requests["instance"]).tolist() == [3, 3]
    assert np.bincount(blind.requests["instance"]).tolist() == [6]


@pytest.mark.parametrize(
    "policies",
    [
        {"dispatch": "random"}, {"dispatch": "power-of-two", "reschedule": "llumnix(interval=0.05)", "preempt": "swap"},
        {"dispatch": "prefix-aware", "order": "vtc", "scale": "freeness-band(interval=0.5)"},
    ],
)  # fmt: skip
def test_the_same_seed_gives_the_same_timeline_byte_for_byte(policies):
    w = chained(np.random.default_rng(3))
    runs = [simulate(fleet(3, blocks=60, prefix_cache=True), w, policies, seed=seed) for seed in (1, 1, 2)]
    assert runs[0].rows.tobytes() == runs[1].rows.tobytes()
    assert runs[0].gaps.tobytes() == runs[1].gaps.tobytes()
    assert all(runs[0].requests[c].tobytes() == runs[1].requests[c].tobytes() for c in runs[0].requests)
    if policies["dispatch"] in ("random", "power-of-two"):
        assert runs[0].rows.tobytes() != runs[2].rows.tobytes()


STEP = 0.01


def server(places):
    """A station with `places` servers: every step takes 10 ms, so a request takes 10 ms a token whatever runs beside it."""
    cost = StepCost((0.0,), (STEP,))
    return Fleet.of(
        engine(cost=cost, blocks=100_000, max_sequences=places, prefill="chunked", max_batched_tokens=10**6), 1
    )


def waits(places, load, outputs, seed):
    rng = np.random.default_rng([7, seed])
    n = 12_000
    output = outputs(rng, n)
    rate = load * places / (STEP * output.mean())
    run = simulate(server(places), Workload.of(np.cumsum(rng.exponential(1 / rate, n)), np.ones(n), output))
    return run.requests["queue"].mean(), output, rate


def assert_agrees(differences, scale):
    """The mean of 8 differences is 0 within a 99.9 % interval (Student's t, 7 degrees of freedom: 5.41) that is narrow."""
    error = np.std(differences, ddof=1) / math.sqrt(len(differences))
    assert abs(np.mean(differences)) < 5.41 * error
    assert error < 0.08 * scale


@pytest.mark.parametrize(
    "outputs", [lambda rng, n: np.full(n, 40), lambda rng, n: rng.geometric(1 / 40, n)], ids=["M/D/1", "M/Geo/1"]
)
def test_one_server_waits_as_pollaczek_and_khinchine_say(outputs):
    differences, expected = [], 0.0
    for seed in range(8):
        wait, output, rate = waits(1, 0.7, outputs, seed)
        service = output * STEP
        expected = rate * (service**2).mean() / (2 * (1 - rate * service.mean()))
        differences.append(wait - expected)
    assert_agrees(differences, expected)


def test_several_servers_wait_as_erlang_says():
    """M/M/c with c = 4; steps are synchronous, so that a request found free waits half a step more, on average."""
    c, load, mean = 4, 0.8, 200
    offered = c * load
    blocked = offered**c / math.factorial(c) / (1 - load)
    queued = blocked / (sum(offered**k / math.factorial(k) for k in range(c)) + blocked)
    expected = queued * STEP * mean / (c * (1 - load))
    found = [waits(c, load, lambda rng, n: rng.geometric(1 / mean, n), seed)[0] - STEP / 2 for seed in range(8)]
    assert_agrees(np.array(found) - expected, expected)
