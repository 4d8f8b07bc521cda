"""Named streams of one seed."""

import numpy as np

from rota.core.seeds import stream

PINNED = [262, 960, 62, 668, 413]


def test_equal_names_draw_equal_numbers_everywhere():
    assert stream(7, "arrivals").integers(0, 2**62, 3).tolist() == stream(7, "arrivals").integers(0, 2**62, 3).tolist()
    assert stream(0, "a").integers(0, 1000, 5).tolist() == PINNED, "the draws of a release never change"


def test_streams_differ_by_seed_name_and_nesting():
    keys = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a0"), (0,)]
    draws = [tuple(stream(*key).integers(0, 2**62, 2).tolist()) for key in keys]
    assert len(set(draws)) == len(keys)


def test_streams_are_not_correlated():
    a, b = (stream(3, "policy", i).normal(size=20_000) for i in range(2))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
