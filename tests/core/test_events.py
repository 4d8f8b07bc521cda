"""The event queue against a sorted list."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.core.events import EventQueue

steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from([0.0, 1.0, 1.5, 2.0]), st.integers(-1, 1)),
        st.tuples(st.just("pop"), st.none(), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.none()),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=50)
@given(steps)
def test_as_a_sorted_list_would(steps):
    queue, events, plan = EventQueue(), [], []
    for what, a, b in steps:
        if what == "push":
            events.append(queue.push(a, len(events), b))
            plan.append((a, b, len(events) - 1))
        elif what == "pop" and plan:
            plan.sort()
            assert queue.peek().item == plan[0][2]
            event = queue.pop()
            assert (event.time, event.priority, event.item) == plan.pop(0)
        elif what == "cancel" and a < len(events):
            live = [entry for entry in plan if entry[2] == a]
            assert queue.cancel(events[a]) == bool(live)
            plan = [entry for entry in plan if entry[2] != a]
        assert len(queue) == len(plan)
    assert [queue.pop().item for _ in range(len(queue))] == [item for *_, item in sorted(plan)]
    assert queue.peek() is None


def test_items_that_cannot_be_compared_are_no_trouble():
    queue = EventQueue()
    queue.push(1.0, {"first": 1})
    queue.push(1.0, {"second": 2})
    assert queue.pop().item == {"first": 1}


def test_an_empty_queue():
    with pytest.raises(IndexError):
        EventQueue().pop()
    assert not EventQueue()


def test_nan_is_no_time():
    with pytest.raises(InputError, match="event time"):
        EventQueue().push(float("nan"), "x")
