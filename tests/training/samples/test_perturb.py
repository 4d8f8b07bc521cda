"""Perturbations: of the stated magnitude, repeatable, and never the sequence itself."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.training.samples import drop, preference_pairs, reverse, shuffle
from rota.training.samples.perturb import Preference

short = st.lists(st.integers(0, 2), max_size=7)
magnitudes = st.sampled_from([2, 3, 4, 8, 16])
seeds = st.integers(0, 999)


def blocks(sequence, magnitude):
    size = max(1, len(sequence) // magnitude)
    return [sequence[k : k + size] for k in range(0, len(sequence), size)]


@given(st.integers(2, 60), magnitudes, seeds)
def test_drop_keeps_the_stated_number_in_order(n, magnitude, seed):
    found = drop(range(n), magnitude, np.random.default_rng(seed))
    assert len(found) == max(1, n // magnitude)
    assert found == sorted(set(found))


@given(st.integers(2, 60), magnitudes, seeds)
def test_shuffle_moves_whole_blocks(n, magnitude, seed):
    sequence = list(range(n))
    found = shuffle(sequence, magnitude, np.random.default_rng(seed))
    assert found != sequence
    assert sorted(found) == sequence
    starts = {block[0]: block for block in blocks(sequence, magnitude)}
    rebuilt = [element for first in found if first in starts for element in starts[first]]
    assert rebuilt == found


@given(st.integers(2, 60), magnitudes)
def test_reverse_reverses_the_blocks(n, magnitude):
    sequence = list(range(n))
    found = reverse(sequence, magnitude)
    assert found == [element for block in blocks(sequence, magnitude)[::-1] for element in block]
    assert found != sequence


@given(short, magnitudes, seeds)
@settings(max_examples=200)
def test_shuffle_is_refused_exactly_where_every_order_is_the_identity(sequence, magnitude, seed):
    parts = blocks(sequence, magnitude)
    assume(len(parts) <= 7)
    orders = ([x for block in order for x in block] for order in permutations(parts))
    if any(order != sequence for order in orders):
        assert shuffle(sequence, magnitude, np.random.default_rng(seed)) != sequence
    else:
        with pytest.raises(InputError, match="blocks that are not all alike"):
            shuffle(sequence, magnitude, np.random.default_rng(seed))


@given(short, magnitudes)
def test_reverse_is_refused_exactly_where_it_is_the_identity(sequence, magnitude):
    turned = [x for block in blocks(sequence, magnitude)[::-1] for x in block]
    if turned != sequence:
        assert reverse(sequence, magnitude) == turned
    else:
        with pytest.raises(InputError, match="stays as it is"):
            reverse(sequence, magnitude)


def test_every_other_order_can_come_up():
    found = {tuple(shuffle("abc", 3, np.random.default_rng(seed))) for seed in range(200)}
    assert found == set(permutations("abc")) - {("a", "b", "c")}


@pytest.mark.parametrize("change", [drop, shuffle, reverse])
def test_too_short_sequences_and_magnitudes_are_refused(change):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="a sequence of 1 that stays as it is"):
        change("a", 2, rng)
    with pytest.raises(InputError, match="magnitude: found 1"):
        change("abc", 1, rng)


def test_pairs_are_repeatable_and_do_not_depend_on_each_other():
    clips = [[f"{k}{c}" for c in "abcdefgh"] for k in range(5)]
    pairs, left_out = preference_pairs(clips, " ".join, 2, seed=3)
    assert (pairs, left_out) == preference_pairs(clips, " ".join, 2, seed=3)
    assert len(pairs) + sum(left_out.values()) == 15
    assert left_out == {}
    alone, _ = preference_pairs(clips[:1], " ".join, 2, ["shuffle"], seed=3)
    assert alone == [pair for pair in pairs if pair.source == 0 and pair.kind == "shuffle"]
    assert preference_pairs(clips, " ".join, 2, seed=4)[0] != pairs
    assert all(len(p.rejected) < len(p.chosen) for p in pairs if p.kind == "drop")


def test_pairs_that_cannot_teach_are_left_out_and_counted():
    def describe(sequence):
        return "x" * (40 if list(sequence) == list("cab") else 10)

    _, left_out = preference_pairs(["abc", "a"], describe, 2, ["drop", "reverse"])
    assert left_out == {"chosen within rejected": 2, "no other order": 2}


@pytest.mark.parametrize(
    ("kind", "chosen", "rejected", "fault"),
    [
        ("drop", "abcd", "ab", None),
        ("drop", "abcd", "zzzz", "rejected not shorter"),
        ("drop", "ab", "cab", "chosen within rejected"),
        ("shuffle", "abc", "bca", None),
        ("shuffle", "abc", "abc", "chosen within rejected"),
        ("reverse", "abcd", "dcbaxx", None),
        ("reverse", "abcd", "dcbaxxx", "lengths too different"),
        ("reverse", "abcdefg", "dcba", "lengths too different"),
    ],
)
def test_the_filters_of_the_paper(kind, chosen, rejected, fault):
    assert Preference(0, kind, 2, chosen, rejected).fault == fault


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="drop, shuffle, reverse"):
        preference_pairs(["abc"], "".join, 2, ["rotate"])
    with pytest.raises(InputError, match="magnitude"):
        preference_pairs(["abc"], "".join, 0)
