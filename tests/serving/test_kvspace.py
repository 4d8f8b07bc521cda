"""Block tables over addresses, against a bitmap."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rota.core.errors import InputError, UnknownName
from rota.serving.kvspace import ALLOCATORS, BlockGroups, KVSpace, runs, stretches


class SpaceMachine(RuleBasedStateMachine):
    """Owners grow, shrink and leave in any order; a bitmap says who has which block."""

    @initialize(blocks=st.integers(1, 80), allocator=st.sampled_from(sorted(ALLOCATORS)), group=st.integers(1, 20))
    def start(self, blocks, allocator, group):
        self.space = KVSpace(blocks, allocator, group)
        self.bitmap = [None] * blocks
        self.order = {}

    @rule(owner=st.integers(0, 6), count=st.integers(0, 30))
    def grow(self, owner, count):
        if count > self.bitmap.count(None):
            with pytest.raises(InputError):
                self.space.grow(owner, count)
            return
        taken = self.space.grow(owner, count)
        assert len(taken) == count
        for block in taken:
            assert self.bitmap[block] is None
            self.bitmap[block] = owner
        self.order.setdefault(owner, []).extend(taken)

    @precondition(lambda self: any(self.order.values()))
    @rule(data=st.data())
    def shrink(self, data):
        owner = data.draw(st.sampled_from([o for o, blocks in self.order.items() if blocks]))
        count = data.draw(st.integers(1, len(self.order[owner])))
        given = self.space.shrink(owner, count)
        assert given == self.order[owner][-count:]
        self.forget(owner, given)

    @rule(owner=st.integers(0, 6))
    def release(self, owner):
        given = self.space.release(owner)
        assert given == self.order.get(owner, [])
        self.forget(owner, given)

    def forget(self, owner, given):
        self.order[owner] = self.order.get(owner, [])[: -len(given) or None]
        for block in given:
            self.bitmap[block] = None

    @invariant()
    def bitmap_agrees(self):
        if hasattr(self, "space"):
            assert self.space.free == self.bitmap.count(None)
            assert all(self.space.tables.get(owner, []) == blocks for owner, blocks in self.order.items())


TestSpace = SpaceMachine.TestCase
TestSpace.settings = settings(deadline=None, max_examples=50, stateful_step_count=40)


def test_a_free_stack_hands_out_the_block_freed_last():
    space = KVSpace(8, "paged")
    assert space.grow(1, 3) == [0, 1, 2]
    assert space.grow(2, 2) == [3, 4]
    space.release(1)
    assert space.grow(2, 2) == [2, 1]


def test_a_sorted_free_list_hands_out_the_lowest():
    space = KVSpace(8, "sorted")
    space.grow(1, 3)
    space.grow(2, 2)
    space.release(1)
    assert space.grow(2, 2) == [0, 1]


def test_groups_keep_each_owner_contiguous_while_others_grow():
    space = KVSpace(100, "groups", group=10)
    for _ in range(10):
        for owner in range(5):
            space.grow(owner, 1)
    assert all(len(list(stretches(space.tables[owner]))) == 1 for owner in range(5))
    assert space.free == 50


def test_groups_grow_into_the_free_group_next_door():
    space = KVSpace(100, "groups", group=10)
    space.grow(1, 10)
    space.grow(2, 10)
    space.release(2)
    assert space.grow(1, 5) == [10, 11, 12, 13, 14]


def test_groups_split_an_unused_tail_when_nothing_else_is_free():
    space = KVSpace(20, "groups", group=20)
    space.grow(1, 4)
    assert space.grow(2, 8) == list(range(12, 20))
    assert space.grow(1, 8) == list(range(4, 12))
    assert space.free == 0


def test_groups_merge_neighbours_whatever_the_order_of_freeing():
    groups = BlockGroups(30, group=10)
    taken = [groups.take(owner, 10, -1) for owner in range(3)]
    for owner in (0, 2, 1):
        groups.give(owner, taken[owner])
    assert groups.take(9, 30, -1) == list(range(30))


def test_runs_break_where_either_side_breaks():
    assert runs([], []) == 0
    assert runs([5, 6, 7], [1, 2, 3]) == 1
    assert runs([5, 6, 7, 9], [1, 2, 8, 9]) == 3
    assert runs([3, 2, 1], [1, 2, 3]) == 3


def test_mistakes_are_named():
    with pytest.raises(UnknownName, match="did you mean sorted"):
        KVSpace(10, "sort")
    with pytest.raises(InputError, match="found 11, expected at most 10"):
        KVSpace(10).grow(0, 11)
    with pytest.raises(InputError, match="group"):
        KVSpace(10, "groups", 0)
