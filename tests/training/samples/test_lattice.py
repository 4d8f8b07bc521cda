"""The walk of a group: the paper's order, its increments, and an end for every group."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.training.samples import Item, LatticeCurriculum, lattice_items
from rota.training.samples.lattice import node, wilson


def serve(policy, solve, batches=400, size=4):
    """Nodes served, batch by batch, until every group is at its end; `solve(item)` gives the rewards."""
    seen = []
    for _ in range(batches):
        batch = policy.next(size)
        for name in set(batch):
            policy.observe(name, solve(policy.items[name]))
        if policy.finished:
            break
        seen += [policy.items[name].node for name in batch]
    return seen


def texts(nodes):
    """Nodes as text, repeats in succession taken once."""
    words = ["+".join(sorted(at)) for at in nodes]
    return [word for k, word in enumerate(words) if k == 0 or words[k - 1] != word]


def test_who_solves_everything_walks_the_papers_path():
    policy = LatticeCurriculum(lattice_items(1))
    seen = serve(policy, lambda item: [1] * 8, size=1)
    assert texts(seen) == ["", "s", "s+v", "c+s", "c+s+v"]
    assert policy.walks["0000"].status == "completed"


@pytest.mark.parametrize(
    ("hard", "aids"), [("s", ["k"]), ("s+v", ["v"]), ("s+c", ["c"]), ("s+v+c", ["v", "c"]), ("", [])]
)
def test_a_failure_is_followed_by_its_increment_and_another_try(hard, aids):
    policy = LatticeCurriculum(lattice_items(1))
    seen = serve(policy, lambda item: [0] * 8 if item.node == node(hard) else [1] * 8, size=2)
    after = seen[seen.index(node(hard)) :]
    assert policy.walks["0000"].status == "set aside"
    assert policy.walks["0000"].failures[policy.walks["0000"].place] == 4
    others = {at for at in after if at != node(hard)} - {node(text) for text in ("", "s", "s+v", "s+c")}
    assert others == {node(aid) for aid in aids}
    first = next((at for at in after if at != node(hard)), None)
    assert first in ({node(aid) for aid in aids} or {None})


def test_an_increment_can_help():
    policy, solved = LatticeCurriculum(lattice_items(1)), []

    def solve(item):
        if item.node == node("k"):
            solved.append(item.id)
        return [1] * 8 if item.node != node("s") or solved else [0] * 8

    serve(policy, solve, size=1)
    assert solved
    assert policy.walks["0000"].status == "completed"


def test_a_second_plain_failure_demotes():
    policy = LatticeCurriculum(lattice_items(1))
    seen = serve(policy, lambda item: [0] * 8 if item.node == node("s") else [1] * 8, size=1)
    assert texts(seen)[:6] == ["", "s", "k", "s", "", "s"]


def test_without_an_increment_the_node_is_tried_again():
    policy = LatticeCurriculum([Item("a", "g"), Item("b", "g", {"s": 1})])
    seen = serve(policy, lambda item: [0] * 8 if item.node else [1] * 8, size=1)
    assert texts(seen)[:2] == ["", "s"]
    assert policy.walks["g"].status == "set aside"


def test_nodes_without_items_are_passed_over():
    policy = LatticeCurriculum([Item("a", "g"), Item("b", "g", {"s": 1, "v": 1})])
    assert texts(serve(policy, lambda item: [1] * 8, size=1)) == ["", "s+v"]


@given(st.integers(0, 999), st.integers(1, 12), st.integers(1, 9), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_every_group_ends_and_none_starves(seed, groups, size, chance):
    policy = LatticeCurriculum(lattice_items(groups), seed)
    visits = 5 * 4 + 5 * 4 + 5  # failures at each node, advances again after them, first advances
    bound = groups * 2 * visits * 4 + 1  # each try, and the increment before it, is decided within 4 results of 8
    for step in range(bound + 1):
        batch = policy.next(size)
        walking = [walk.served for walk in policy.walks.values() if walk.status == "walking"]
        if not walking:
            break
        assert max(walking) - min(walking) <= 1
        for name in sorted(set(batch)):
            policy.observe(name, (stream(seed, step, name).random(8) < chance).astype(int).tolist())
    assert policy.finished
    assert all(max(walk.failures) <= policy.max_retry + 1 for walk in policy.walks.values())


def test_after_the_end_every_item_is_served_evenly():
    policy = LatticeCurriculum(lattice_items(2))
    serve(policy, lambda item: [1] * 8)
    for _ in range(30):
        for name in set(policy.next(9)):
            policy.observe(name, [1])
    assert min(policy.shown.values()) > 0
    assert max(policy.shown.values()) - min(policy.shown.values()) <= 1


def test_results_of_items_elsewhere_do_not_move_a_group():
    policy = LatticeCurriculum(lattice_items(1))
    policy.observe("0000/s+v+c", [1] * 32)
    policy.next(1)
    assert policy.walks["0000"].place == 0
    assert policy.walks["0000"].tried == 0


def test_wilson_is_the_textbook_interval():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 8)[0] == 0
    assert wilson(8, 8)[1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"promote": 0.95}, "which all of them right would give"),
        ({"promote": 0.5, "demote": 0.7}, "0 <= demote < promote"),
        ({"max_retry": -1}, "max_retry >= 0"),
        ({"path": ("", "z")}, "axes among c, k, s, v"),
        ({"increments": {"s": ["kk"]}}, "axes among c, k, s, v"),
        ({"increments": {"v": ["k"]}}, "a node of the path"),
        ({"path": ("v+c", "s")}, None),
        ({"path": ("s+k",)}, "no item on the path"),
        ({"path": ()}, "at least one node"),
        ({"axes": ()}, "axes: found none"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments, sentence):
    if sentence is None:
        assert LatticeCurriculum(lattice_items(2), **arguments).walks
        return
    with pytest.raises(InputError, match=sentence):
        LatticeCurriculum(lattice_items(2), **arguments)


def test_increments_can_be_chosen():
    policy = LatticeCurriculum(lattice_items(1), increments={"": ["k"]})
    seen = serve(policy, lambda item: [0] * 8 if not item.node else [1] * 8, size=1)
    assert texts(seen)[:3] == ["", "k", ""]


@given(st.integers(0, 999), st.integers(0, 3), st.integers(1, 6), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_every_move_rests_on_results_of_its_own_try(seed, lag, groups, chance):
    """What is drawn before a move comes in `lag` batches after it: until then nothing can move the group again."""
    policy = LatticeCurriculum(lattice_items(groups, ("", "s", "s+v", "k")), seed, staleness=lag)
    moves = {group: [] for group in policy.walks}
    before = dict.fromkeys(policy.walks, (0, False, (0,) * 3, "walking"))
    late = []
    for number in range(40):
        late.append(policy.next(groups))
        for group, walk in policy.walks.items():
            now = (walk.place, walk.increment, tuple(walk.failures), walk.status)
            moves[group] += [number] if now != before[group] else []
            before[group] = now
        for name in set(late.pop(0)) if len(late) > lag else ():
            policy.observe(name, (stream(seed, number, name).random(8) < chance).astype(int).tolist())
    gaps = [b - a for times in moves.values() for a, b in itertools.pairwise([0, *times])]
    assert gaps
    assert min(gaps) > lag


def test_a_stale_batch_is_not_another_failure():
    policy = LatticeCurriculum([Item("a", "g")])
    for batches, failures in ((2, 0), (1, 1), (1, 1), (1, 2)):
        for _ in range(batches):
            policy.next(1)
        assert policy.walks["g"].failures == [failures]
        policy.observe("a", [0] * 8)
    again = LatticeCurriculum([Item("a", "g")])
    again.load_state_dict(policy.state_dict())
    again.next(1)
    assert again.walks["g"].failures == [2]


def test_news_of_an_item_in_no_open_batch_count_for_the_present_try():
    policy = LatticeCurriculum([Item(name, "g") for name in "abc"])
    failed = policy.next(1)[0]
    policy.observe(failed, [0] * 8)
    policy.next(1)
    policy.observe(failed, [1])
    policy.next(1)
    assert (policy.walks["g"].failures, policy.walks["g"].tried) == ([1], 1)


def test_a_second_report_of_a_stale_item_is_as_stale():
    policy = LatticeCurriculum([Item(name, "g") for name in "abc"])
    failed, stale = policy.next(1)[0], policy.next(1)[0]
    policy.observe(failed, [0] * 8)
    policy.next(1)
    for _ in range(2):
        policy.observe(stale, [0] * 8)
    policy.next(1)
    assert policy.walks["g"].failures == [1]
    assert policy.walks["g"].tried == 0
