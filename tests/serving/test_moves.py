"""Live migration: its stages, its reservations, how it is given up, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
from small_fleets import engine, fleet, requests

from rota.serving.model import BLOCK, Fleet, Transfer, Workload
from rota.serving.moves import LAST_STAGE_BLOCKS, MAX_STAGES
from rota.serving.simulate import Simulation, chosen, simulate
from rota.serving.verify import violations

TO_THE_OTHER = {"reschedule": "disaggregate"}
LINK = Transfer(2.5e9, 0.005)


def one(prompt=320, output=400, link=LINK, kinds=None, policies=TO_THE_OTHER, **options):
    """One request that moves from instance 0 to instance 1 after its first token."""
    own = kinds or (engine(migration=link, kv_bytes=5e5, blocks=1000, max_batched_tokens=16384, **options),) * 2
    return simulate(Fleet(own), Workload.of([0.0], [prompt], [output]), policies)


def copied(run):
    """Blocks that went over the link."""
    return run.counts["migrated_bytes"] / (BLOCK * run.fleet.kinds[0].kv_bytes)


def test_every_block_is_copied_once_however_many_stages_it_takes():
    run = one(prompt=3200)
    request, source, target, started, left, resumed = run.moves[0]
    assert (request, source, target) == (0, 0, 1)
    assert started == run.requests["first_token"][0]
    held = run.rows["blocks"][(run.rows["end"] == left) & (run.rows["instance"] == 0)]
    assert copied(run) == held[0] >= 200
    first = LINK.seconds(200 * BLOCK * 5e5)
    assert left >= started + first
    assert resumed - left == pytest.approx(LINK.seconds((held[0] - 200) * BLOCK * 5e5), rel=0.5)


def test_decoding_goes_on_while_blocks_are_copied_and_stops_for_the_tail_only():
    run = one(prompt=3200)
    *_, started, left, resumed = run.moves[0]
    during = run.gaps[(run.gaps["start"] >= started) & (run.gaps["start"] < left)]
    assert during["count"].sum() == pytest.approx((left - started) / 0.0255, rel=0.2)
    away = run.rows[run.rows["start"] == left]
    assert away["kind"].tolist() == [4]
    assert away["end"][0] == resumed
    assert run.requests["downtime"][0] == pytest.approx(resumed - left)


def test_downtime_is_constant_in_length_where_copying_or_recomputing_is_linear():
    """The shape of figure 10 of the paper: 256 to 8,192 tokens."""
    lengths = [256, 1024, 4096, 8192]
    runs = [one(prompt=n) for n in lengths]
    downtime = np.array([run.moves[0][5] - run.moves[0][4] for run in runs])
    stop_and_copy = np.array([LINK.seconds(n * 5e5) for n in lengths])
    recompute = np.array([run.fleet.kinds[0].cost.step(0, 0, [(n, 0)]) for run, n in zip(runs, lengths, strict=True)])
    assert downtime.max() <= LINK.seconds((LAST_STAGE_BLOCKS + 1) * BLOCK * 5e5)
    assert downtime.max() < 3 * downtime.min()
    for rival in (stop_and_copy, recompute):
        assert np.polyfit(lengths, rival, 1)[0] * 8192 == pytest.approx(rival[-1], rel=0.1)
        assert rival[-1] > 20 * downtime[-1]


def test_a_target_without_room_refuses_and_the_request_stays():
    w = Workload.of([0.0, 0.0], [250, 420], [20, 100])
    run = simulate(fleet(2, blocks=40), w, TO_THE_OTHER)
    assert run.counts["aborted_target"] == 1
    assert not run.moves
    assert run.requests["instance"].tolist() == [0, 1]


def test_a_move_ends_if_its_request_does():
    run = one(prompt=1600, output=3, link=Transfer(1e9, 0.1))
    assert run.counts["aborted_source"] == 1
    assert not run.moves


def test_a_move_that_cannot_keep_up_is_given_up_after_its_stages():
    """A stage of 10 s during which more than 16 blocks of tokens are generated, again and again."""
    run = one(prompt=320, output=3000, link=Transfer(1e12, 10.0))
    assert run.counts["aborted_target"] == 1
    assert not run.moves
    assert run.requests["finish"][0] > 10 * MAX_STAGES


def test_a_preempted_request_no_longer_moves():
    """Two requests outgrow instance 0 while the later one is being copied over a slow link."""
    kinds = (engine(blocks=40, migration=Transfer(1e12, 1.5)), engine(blocks=100))
    w = Workload.of([0.0, 0.01], [250, 250], [200, 200])
    sim = Simulation(Fleet(kinds), w, chosen({"dispatch": "prefill-pool"}, 0, w))
    sim.events.push(1.0, (lambda request, now: sim.moves.start(request, 0, 1, now), 1))
    run = sim.run()
    assert run.requests["preemptions"].tolist() == [0, 1]
    assert (run.counts["aborted_source"], run.counts["aborted_target"], len(run.moves)) == (1, 0, 0)
    assert sim.engines.inst["free"].tolist() == [40, 100]


def test_the_target_is_reserved_from_the_start():
    """A move that needs 16 of the target's 20 blocks leaves no room there for a newcomer until it is done."""
    kinds = (engine(migration=Transfer(1e12, 1.0)), engine(blocks=30, watermark=0.0))
    w = Workload.of([0.0, 0.5], [250, 250], [60, 2])
    alone = simulate(Fleet(kinds), w.take([0]), TO_THE_OTHER)
    assert len(alone.moves) == 1
    sim = Simulation(Fleet(kinds), w, chosen(TO_THE_OTHER | {"dispatch": "round-robin"}, 0, w))
    run = sim.run()
    request, _, _, started, *_ = run.moves[0]
    assert request == 0
    assert started < 0.5
    assert run.requests["admitted"][1] >= run.requests["finish"][0]


def test_an_instance_takes_part_in_one_move_at_a_time():
    w = requests(30)
    sim = Simulation(fleet(3), w, chosen(None, 0, w))
    started = []
    for at, request, target in ((2.0, 0, 1), (2.0, 3, 1), (2.0, 6, 2)):
        sim.events.push(
            at,
            (
                lambda job, now: started.append(
                    sim.moves.start(job[0], int(sim.engines.req[job[0]]["instance"]), job[1], now)
                ),
                (request, target),
            ),
        )
    sim.run()
    assert started.count(True) <= 1


def test_disaggregated_requests_that_find_an_end_busy_move_later():
    """Eight prompts end their prefill together on one instance, which takes part in one move at a time."""
    w = Workload.of(np.zeros(8), np.full(8, 40), np.full(8, 400))
    run = simulate(fleet(3, blocks=400), w, {"dispatch": "prefill-pool", "reschedule": "disaggregate"})
    assert sorted(move[0] for move in run.moves) == list(range(8))
    assert {move[1] for move in run.moves} == {0}
    assert {move[2] for move in run.moves} == {1, 2}
    assert violations(run) == []


def test_who_is_asked_again_sees_the_fleet_as_the_move_left_it():
    """A move that ends frees memory on its source: the view that the next decision gets says so."""
    w = Workload.of(np.zeros(8), np.full(8, 40), np.full(8, 400))
    seen = []

    def note(kind, views, _):
        if kind == "reschedule.target":
            view = views[2]
            now = sim.engines.report(view.now)
            seen.append(
                all((getattr(view, name) == now[name]).all() for name in ("free", "running", "waiting", "kv_tokens"))
            )

    policies = chosen({"dispatch": "prefill-pool", "reschedule": "disaggregate"}, 0, w)
    sim = Simulation(fleet(3, blocks=400), w, policies, note)
    sim.run()
    assert len(seen) == 8
    assert all(seen)


@pytest.mark.parametrize("preempt", ["recompute", "swap"])
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("spec", ["llumnix(interval=0.05)", "balanced(interval=0.05)", "disaggregate"])
def test_when_all_is_over_all_memory_is_free(spec, cache, preempt):
    w = requests(60, rate=15)
    w = replace(w, prefix_start=np.arange(61), prefix_hash=np.arange(60) % 4, prefix_chunk=32)
    sim = Simulation(fleet(3, blocks=60, prefix_cache=cache), w, chosen({"reschedule": spec, "preempt": preempt}, 0, w))
    run = sim.run()
    assert run.counts["migrations"] > 2
    assert violations(run) == []
    inst = sim.engines.inst
    assert inst["free"].tolist() == [60] * 3
    assert inst["cpu_free"].tolist() == [sim.fleet.kinds[0].cpu_blocks] * 3
    for column in (
        "running",
        "waiting",
        "wait_blocks",
        "wait_tokens",
        "prefill_left",
        "urgent",
        "killed",
        "kv",
        "decoding",
    ):
        assert not inst[column].any(), column
    assert not sim.engines.state.residue.any()
    assert not sim.moves.under_way
    assert not sim.moves.busy.any()


def test_downtimes_and_migrations_add_up():
    run = simulate(fleet(3, blocks=60), requests(60, rate=15), {"reschedule": "llumnix(interval=0.05)"})
    table = np.array(run.moves)
    assert run.requests["migrations"].sum() == len(table) == run.counts["migrations"] > 2
    lost = np.bincount(table[:, 0].astype(int), table[:, 5] - table[:, 4], 60)
    np.testing.assert_allclose(run.requests["downtime"], lost)
