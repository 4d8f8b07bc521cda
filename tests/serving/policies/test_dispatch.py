"""Dispatch policies on hand-made views."""

import numpy as np
import pytest
from small_fleets import COST, engine, view

from rota.core.registry import make
from rota.serving.lengths import LengthDistribution
from rota.serving.model import RequestView, StepCost

NORMAL, URGENT = RequestView(0, 10.0, 160), RequestView(1, 10.0, 160, priority=1)


def choose(spec, fleet, request=NORMAL):
    return make("serving.dispatch", spec).choose(request, fleet)


def test_round_robin_takes_each_accepting_instance_in_turn():
    policy = make("serving.dispatch", "round-robin")
    fleet = view([9, 9, 9, 9], accepting=[True, False, True, True])
    assert [policy.choose(NORMAL, fleet) for _ in range(5)] == [0, 2, 3, 0, 2]


def test_least_requests_counts_running_waiting_and_those_on_their_way():
    assert choose("least-requests", view([9, 9, 9], running=[2, 1, 4], waiting=[1, 1, 0], sent=[0, 2, 0])) == 0
    assert choose("least-requests", view([9, 9], running=[3, 3])) == 0


def test_power_of_two_never_takes_the_busiest_and_random_takes_all():
    fleet = view([9] * 4, running=[0, 1, 2, 9])
    two, any_one = make("serving.dispatch", "power-of-two(seed=1)"), make("serving.dispatch", "random(seed=1)")
    picks = [two.choose(NORMAL, fleet) for _ in range(200)]
    assert set(picks) == {0, 1, 2}
    assert picks.count(0) == pytest.approx(100, abs=25)
    assert {any_one.choose(NORMAL, fleet) for _ in range(200)} == {0, 1, 2, 3}


def test_the_load_of_llumnix_by_hand():
    """-((free - w) - what the queue needs) / (running + waiting): (60-10-20)/10 = 3, (40-10)/7 = 4.29, (90-10-0)/20 = 4."""
    fleet = view([60, 40, 90], watermark=[10, 10, 10], running=[8, 7, 20], waiting=[2, 0, 0], waiting_blocks=[20, 0, 0])
    assert choose("least-load", fleet) == 1
    assert choose("freeness", fleet) == 1


def test_what_was_sent_since_the_report_counts():
    fleet = view([50, 50], running=[5, 5], sent=[1, 0], sent_blocks=[10, 0])
    assert choose("least-load", fleet) == 1


def test_an_empty_instance_is_the_freest_of_all_and_a_larger_one_before_a_smaller():
    assert choose("freeness", view([100, 99, 100], running=[1, 0, 1])) == 1
    assert choose("freeness", view([100, 200], total=[100, 200])) == 1


def test_head_room_keeps_normal_requests_off_and_leaves_it_to_urgent_ones():
    """Held to 1,600 tokens, 100 of 200 blocks are head-room: (150 - 100) / 10 = 5 beside an urgent request, 60 / 10 = 6 elsewhere."""
    fleet = view([150, 60, 55], running=[10, 10, 10], urgent=[1, 0, 0], total=[200, 200, 200])
    assert choose("freeness", fleet) == 1
    assert choose("freeness", fleet, URGENT) == 0, "150 / 10 = 15: nothing is kept from an urgent request"
    assert choose("freeness(target_load=0)", fleet) == 0
    assert choose("least-load", fleet) == 0, "blind to priorities"


def test_urgent_requests_fill_the_fullest_host_that_stays_within_the_target_load():
    """Of 200 blocks a host may use 100; the request needs 10 more."""
    free = [150, 115, 105, 195]
    fleet = view(free, running=[5, 5, 5, 1], urgent=[1, 1, 1, 0], total=[200] * 4)
    assert choose("freeness", fleet, URGENT) == 1, "115 - 100 >= 10, and 105 - 100 < 10"
    full = view(free, running=[5, 5, 5, 1], urgent=[0, 0, 1, 0], total=[200] * 4)
    assert choose("freeness", full, URGENT) == 3, "no host has room within the target load: the freest becomes one"
    assert choose("freeness(target_load=0)", fleet, URGENT) == 3
    draining = view(free, running=[5] * 4, urgent=[1, 1, 0, 0], total=[200] * 4, accepting=[True, False, True, True])
    assert choose("freeness", draining, URGENT) == 0


@pytest.mark.parametrize(
    "spec", ["freeness", "least-load", "least-requests", "prefix-aware", "earliest-finish", "session-affinity"]
)
def test_ties_go_to_the_lower_index_and_never_to_one_that_does_not_accept(spec):
    assert choose(spec, view([50, 50, 50], running=[3, 3, 3])) == 0
    assert choose(spec, view([50, 50, 50], running=[3, 3, 3], accepting=[False, True, True])) == 1


def test_a_session_stays_until_its_instance_is_too_busy():
    policy = make("serving.dispatch", "session-affinity(slack=4)")
    turn = RequestView(0, 1.0, 10, session=7)
    assert policy.choose(turn, view([9, 9], running=[5, 0])) == 1
    assert policy.choose(turn, view([9, 9], running=[0, 4])) == 1
    assert policy.choose(turn, view([9, 9], running=[0, 5])) == 0
    assert policy.choose(turn, view([9, 9], running=[4, 0])) == 0
    assert policy.choose(RequestView(1, 1.0, 10), view([9, 9], running=[4, 0])) == 1


def test_prefix_aware_weighs_what_is_cached_against_what_is_queued():
    fleet = {"free": [50, 50], "cached": [128, 0]}
    assert choose("prefix-aware", view(**fleet, prefill_tokens=[100, 0])) == 0
    assert choose("prefix-aware", view(**fleet, prefill_tokens=[100, 0], sent_tokens=[30, 0])) == 1
    assert choose("prefix-aware(decode_weight=0.1)", view(**fleet, kv_tokens=[1300, 0])) == 1


def test_earliest_finish_sees_that_gpus_differ():
    slow = StepCost((0.0, 1.0), (0.0, 1e-3), decode_base=0.08)
    kinds = (engine(cost=slow), engine(cost=COST))
    idle = view([100, 100], kinds=kinds)
    assert choose("earliest-finish", idle) == 1
    busy = view([100, 100], kinds=kinds, prefill_tokens=[0, 200_000])
    assert choose("earliest-finish", busy) == 0


def test_earliest_finish_uses_the_predicted_length():
    """A GPU that is quick at prompts and one that is quick at tokens."""
    reader = StepCost((0.0, 1.0), (0.0, 1e-5), decode_base=0.05)
    writer = StepCost((0.0, 1.0), (0.0, 1e-2), decode_base=0.001)
    fleet = view([100, 100], kinds=(engine(cost=reader), engine(cost=writer)))
    short, long = (RequestView(0, 1.0, 160, predicted=LengthDistribution.point(n)) for n in (1, 2000))
    assert choose("earliest-finish", fleet, short) == 0
    assert choose("earliest-finish", fleet, long) == 1


def test_the_prefill_pool_is_the_first_instances():
    fleet = view([50] * 4, prefill_tokens=[90, 40, 0, 0])
    assert choose("prefill-pool(prefill=2)", fleet) == 1
    gone = view([50] * 4, prefill_tokens=[0, 0, 90, 40], accepting=np.array([False, False, True, True]))
    assert choose("prefill-pool(prefill=2)", gone) == 3
