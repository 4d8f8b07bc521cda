"""Scaling policies on hand-made views."""

from small_fleets import view

from rota.core.registry import make


def change(spec, fleet):
    return make("serving.scale", spec).change(fleet)


def on(count, of):
    return {name: [k < count for k in range(of)] for name in ("accepting", "active")}


def test_fixed_never_changes_anything():
    assert make("serving.scale", "fixed").interval is None
    assert change("fixed", view([0, 0], running=[50, 50], waiting=[9, 9])) == 0


def test_the_band_starts_as_many_as_it_takes():
    """60 free blocks for 20 requests is 3; each empty instance adds 100: (60 + 200) / 20 = 13 is the first of 10 or more."""
    fleet = view([30, 30, 100, 100, 100], running=[10, 10, 0, 0, 0], **on(2, 5))
    assert change("freeness-band", fleet) == 2
    assert change("freeness-band(most=3)", fleet) == 1
    assert change("freeness-band(low=3.0)", fleet) == 0


def test_the_band_drains_one_if_the_others_alone_are_free_enough():
    """Without one of three the freeness is (285 - 100) / 3 = 61.7 > 60; with one request more, (280 - 100) / 4 = 45."""
    assert change("freeness-band", view([95, 95, 95], running=[1, 1, 1])) == -1
    assert change("freeness-band", view([95, 95, 90], running=[1, 1, 2])) == 0
    assert change("freeness-band(least=3)", view([95, 95, 95], running=[1, 1, 1])) == 0


def test_the_band_counts_what_the_queue_needs():
    assert (
        change("freeness-band", view([60, 100], running=[4, 0], waiting=[2, 0], waiting_blocks=[30, 0], **on(1, 2)))
        == 1
    )
    assert change("freeness-band", view([60, 100], running=[4, 0], **on(1, 2))) == 0


def test_an_idle_fleet_shrinks_to_the_least():
    assert change("freeness-band", view([100, 100])) == -1
    assert change("freeness-band", view([100, 100], **on(1, 2))) == 0
    assert change("queue-length", view([100, 100])) == -1
    assert change("queue-length(least=2)", view([100, 100])) == 0


def test_the_queue_starts_one_for_every_so_many():
    fleet = view([0] * 4, running=[10] * 4, waiting=[9, 4, 0, 0], sent=[0, 5, 0, 0], **on(2, 4))
    assert change("queue-length", fleet) == 2
    assert change("queue-length(per_instance=10)", fleet) == 1
    assert change("queue-length(per_instance=19)", fleet) == 0
    assert change("queue-length(per_instance=2)", fleet) == 2, "no more than are off"
