"""Rescheduling policies on hand-made views; the formulas of Llumnix with numbers worked out by hand."""

import numpy as np
import pytest
from small_fleets import batch, view

from rota.core.errors import UnknownName
from rota.core.registry import make
from rota.serving.freeness import dispatch_freeness, migration_freeness
from rota.serving.model import RequestView


def pairs(spec, fleet):
    return list(make("serving.reschedule", spec).pairs(fleet))


def test_migration_freeness_by_hand():
    """((free - w) - what the queue needs) / (running + 1 if any waits): (50-2-20)/(3+1), (50-2)/4, (50-2)/4, nobody: 1e9 + 48."""
    fleet = view(
        [50, 50, 50, 50],
        watermark=[2] * 4,
        running=[3, 4, 4, 0],
        waiting=[2, 0, 0, 0],
        waiting_blocks=[20, 0, 0, 0],
        urgent=[0, 0, 1, 0],
    )
    np.testing.assert_allclose(migration_freeness(fleet), [7, 12, 12, 1e9 + 48])
    np.testing.assert_allclose(migration_freeness(fleet, head_room=100), [7, 12, -13, 1e9 + 48])
    np.testing.assert_allclose(migration_freeness(fleet, defragment=False), [16, 12, 12, 1e9 + 48])
    np.testing.assert_allclose(dispatch_freeness(fleet), [28 / 5, 12, 12, 1e9 + 48])


def test_llumnix_pairs_the_worst_with_the_best():
    """Freeness 1, 20, 2, 30, 5, threshold 3: the sources 0 and 2, the targets 3 and 1; 4 takes part in nothing yet."""
    fleet = view([4, 80, 8, 90, 20], running=[4, 4, 4, 3, 4])
    assert pairs("llumnix", fleet) == [(0, 3), (2, 1)]
    assert pairs("llumnix(threshold=6.0)", fleet) == [(0, 3), (2, 1)]
    assert pairs("llumnix(threshold=25.0)", fleet) == [(0, 3)]


def test_an_instance_exactly_at_the_threshold_neither_sheds_nor_takes():
    assert pairs("llumnix", view([12, 80], running=[4, 4])) == []
    assert pairs("llumnix", view([4, 12], running=[4, 4])) == []


def test_preempted_requests_make_a_source_and_no_target():
    assert pairs("llumnix", view([80, 90], running=[4, 4], killed=[1, 0])) == [(0, 1)]
    assert pairs("llumnix", view([4, 90], running=[4, 4], killed=[0, 1])) == []


def test_instances_in_a_move_are_left_alone():
    fleet = view([4, 80, 4, 90], running=[4] * 4, migrating=[True, False, False, True])
    assert pairs("llumnix", fleet) == [(2, 1)]


def test_a_request_that_waits_for_room_makes_its_instance_a_source():
    """Free 24 for 4 requests is 6 a request; the queue's head needs 20 of them: (24 - 20) / 5 = 0.8."""
    fleet = view([24, 80], running=[4, 4], waiting=[1, 0], waiting_blocks=[20, 0])
    assert pairs("llumnix", fleet) == [(0, 1)]
    assert pairs("llumnix(defragment=False)", fleet) == []


def test_draining_instances_go_first_whatever_their_load():
    fleet = view([4, 80, 90], running=[4, 2, 4], accepting=[True, False, True])
    assert pairs("llumnix", fleet) == [(1, 2)]
    assert pairs("drain", fleet) == [(1, 2)]
    assert pairs("drain", view([4, 80, 90], running=[4, 2, 4])) == []
    assert pairs("none", fleet) == []


def test_head_room_makes_the_host_of_an_urgent_request_shed():
    """Held to 1,600 tokens, 300 of its 400 blocks are head-room: (220 - 300) / 4 < 3."""
    fleet = view([220, 220], running=[4, 4], urgent=[1, 0], total=[400, 400])
    assert pairs("llumnix", fleet) == [(0, 1)]
    assert pairs("llumnix(target_load=0)", fleet) == []


def test_balanced_leaves_out_moves_that_widen_the_gap():
    """Moving half of 2 requests with 40 blocks onto an instance with 50 free for 10: 5 falls to (50 - 20) / 11 < 3."""
    heavy = view([4, 50], running=[2, 10], kv_tokens=[640, 0])
    assert pairs("llumnix", heavy) == [(0, 1)]
    assert pairs("balanced", heavy) == []
    light = view([4, 90], running=[10, 4], kv_tokens=[640, 0])
    assert pairs("balanced", light) == [(0, 1)]


@pytest.mark.parametrize(("rule", "expected"), [("last", 52), ("longest", 51), ("shortest", 50)])
def test_the_request_that_moves(rule, expected):
    policy = make("serving.reschedule", f"llumnix(victim={rule!r})")
    assert (
        policy.victim(batch([2, 9, 5, 1, 20], priority=[0, 0, 0, 1, 0], movable=[True, True, True, True, False]))
        == expected
    )


def test_nobody_moves_where_all_are_urgent_or_in_their_prefill():
    policy = make("serving.reschedule", "llumnix")
    assert policy.victim(batch([2, 3], priority=[1, 1])) is None
    assert policy.victim(batch([2, 3], decoding=[False, False])) is None
    with pytest.raises(UnknownName, match="did you mean"):
        make("serving.reschedule", "llumnix(victim='longst')")


def test_draining_moves_the_urgent_too_smallest_first():
    assert make("serving.reschedule", "drain").victim(batch([4, 2, 3], priority=[0, 1, 0])) == 51


def test_disaggregation_sends_each_request_to_the_freest_of_the_decode_pool():
    policy = make("serving.reschedule", "disaggregate(prefill=2)")
    fleet = view([50, 50, 40, 80, 90], running=[1, 1, 4, 4, 4], migrating=[False] * 4 + [True])
    request = RequestView(0, 1.0, 50)
    assert policy.after_prefill
    assert policy.target(request, 0, fleet) == 3
    assert policy.target(request, 2, fleet) is None
    assert policy.target(request, 0, view([9, 9], running=[1, 1])) is None
    assert policy.target(request, 0, view([9, 9, 9], migrating=[False, False, True])) == 2, "all are busy: wait for it"
