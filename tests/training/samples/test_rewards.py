"""Average-reward learning: the mean of a group for each of its members."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.training.samples import averaged, group_mean_reward


def test_every_member_gets_the_mean_of_its_group():
    assert group_mean_reward([1, 0, 1, 1, None], "aabba") == [0.5, 0.5, 1.0, 1.0, None]
    assert group_mean_reward([], []) == []


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from("abc")), min_size=1))
def test_sums_stay_and_order_does_not_matter(pairs):
    rewards, keys = zip(*pairs, strict=True)
    found = group_mean_reward(rewards, keys)
    assert sum(found) == pytest.approx(sum(rewards))
    assert group_mean_reward(rewards[::-1], keys[::-1]) == found[::-1]


def test_a_reward_function_is_wrapped():
    def exact(completions, principle, **_):
        """Right or wrong."""
        return [float(c == "4") for c in completions]

    rewarded = averaged(exact, "principle")
    assert rewarded.__name__ == "exact"
    assert rewarded(completions=["4", "5", "4"], principle=["add", "add", "mul"]) == [0.5, 0.5, 1.0]
    with pytest.raises(InputError, match="no dataset column 'principle'"):
        rewarded(completions=["4"], topic=["add"])


def test_one_key_for_each_reward():
    with pytest.raises(InputError, match="1 for 2 rewards"):
        group_mean_reward([1, 0], ["a"])
