"""The contract of policies: kept by everything in the registry, and broken on purpose."""

import numpy as np
import pytest
from hypothesis import given, settings

from rota.core.errors import RuleViolation
from rota.core.registry import DOMAINS, entry, names
from rota.testing import check_policy, violations
from rota.testing.serving import QUESTIONS, fleet_view
from rota.testing.strategies import batch_views, fleet_views, queue_views

SHIPPED = [(domain, name) for domain in DOMAINS for name in names(domain)]


@pytest.mark.parametrize(("domain", "name"), SHIPPED, ids=[f"{d}-{n}" for d, n in SHIPPED])
def test_shipped_policies_keep_the_contract(domain, name):
    check_policy(entry(domain, name), domain)


class First:
    """The first accepting instance."""

    def choose(self, request, fleet):
        return int(np.argmax(fleet.accepting))


def test_a_class_that_is_not_registered_can_be_checked():
    check_policy(First, "serving.dispatch")


class NotAccepting(First):
    """Any instance that refuses."""

    def choose(self, request, fleet):
        return int(np.argmin(fleet.accepting))


class NumpyIndex(First):
    """A NumPy integer, which JSON cannot hold."""

    def choose(self, request, fleet):
        return np.argmax(fleet.accepting)


class Scribbler(First):
    """Counts what it sends in the view itself."""

    def choose(self, request, fleet):
        fleet.sent[0] += 1
        return super().choose(request, fleet)


class Unseeded(First):
    """Draws from a generator that nobody gave it."""

    def choose(self, request, fleet):
        return int(np.random.default_rng().choice(np.flatnonzero(fleet.accepting)))


class Amnesiac(First):
    """Takes turns, and forgets whose turn it is when it is pickled."""

    def __init__(self):
        self.turn = 0

    def choose(self, request, fleet):
        self.turn += 1
        accepting = np.flatnonzero(fleet.accepting)
        return int(accepting[self.turn % len(accepting)])

    def __getstate__(self):
        return {"turn": 0}


class Unpicklable(First):
    """Holds a function that was made on the spot."""

    def __init__(self):
        self.rule = lambda fleet: int(np.argmax(fleet.accepting))


class Mute(First):
    def choose(self, request, fleet):
        return 0


class Fragment(First):
    """takes the first instance, and then"""


class Untyped(First):
    """Takes a parameter of unknown type."""

    def __init__(self, share=0.5):
        self.share = share


class Demanding(First):
    """Takes a parameter that must be given."""

    def __init__(self, share: float):
        self.share = share


class Wordless(First):
    """Has a default that a spec string cannot hold."""

    def __init__(self, rule: type = First):
        self.rule = rule


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (NotAccepting, "does not accept"),
        (NumpyIndex, "not the index"),
        (Scribbler, "a view was changed"),
        (Unseeded, "a fresh one answers"),
        (Amnesiac, "after a pickle round trip"),
        (Unpicklable, "cannot be pickled"),
        (Mute, "no docstring"),
        (Fragment, "not a sentence"),
        (Untyped, "share has no type"),
        (Demanding, "share has no default"),
        (Wordless, "makes no policy"),
    ],
)
def test_each_broken_rule_is_found(policy, sentence):
    found = violations(policy, "serving.dispatch")
    assert any(sentence in text for text in found), found
    with pytest.raises(RuleViolation, match=sentence):
        check_policy(policy, "serving.dispatch")


class Reschedules:
    """Answers what the test says."""

    interval = 1.0
    after_prefill = True

    def pairs(self, fleet):
        return ()

    def victim(self, batch):
        return None

    def target(self, request, source, fleet):
        return None


class Busy(Reschedules):
    """Pairs instances that are migrating."""

    def pairs(self, fleet):
        busy = np.flatnonzero(fleet.migrating).tolist()
        return list(zip(busy[::2], busy[1::2], strict=False))


class Twice(Reschedules):
    """Takes one source twice."""

    def pairs(self, fleet):
        return [(0, 1), (0, 2)] if len(fleet) > 2 else []


class Idle(Reschedules):
    """Moves from an instance that runs nothing."""

    def pairs(self, fleet):
        idle = np.flatnonzero(fleet.running == 0).tolist()
        return [(idle[0], (idle[0] + 1) % len(fleet))] if idle and len(fleet) > 1 else []


class Refused(Reschedules):
    """Moves to an instance that does not accept."""

    def pairs(self, fleet):
        closed = np.flatnonzero(~fleet.accepting).tolist()
        return [((closed[0] + 1) % len(fleet), closed[0])] if closed else []


class Immovable(Reschedules):
    """Moves a request that cannot be moved."""

    def victim(self, batch):
        fixed = batch.id[~batch.movable]
        return int(fixed[0]) if len(fixed) else None


class Home(Reschedules):
    """Sends requests where they are."""

    def target(self, request, source, fleet):
        return source


class Huge:
    """Drains more than there is."""

    interval = 1.0

    def change(self, fleet):
        return -len(fleet) - 1


class Fractional(Huge):
    """Starts half an instance."""

    def change(self, fleet):
        return 0.5


class ByName:
    """Ranks by identity."""

    dynamic = False

    def rank(self, queue):
        return np.array([float(request.id) for request in queue.requests])


class Endless(ByName):
    """Ranks everything last."""

    def rank(self, queue):
        return np.full(len(queue.requests), np.inf)


class Scalar(ByName):
    """One rank for all."""

    def rank(self, queue):
        return np.zeros(1 + len(queue.requests))


class Beyond:
    """Preempts a request behind the last one."""

    mechanism = "recompute"

    def victim(self, batch):
        return len(batch.id)


@pytest.mark.parametrize(
    ("policy", "domain", "sentence"),
    [
        (Busy, "reschedule", "migrating already"),
        (Twice, "reschedule", "twice"),
        (Idle, "reschedule", "runs nothing"),
        (Refused, "reschedule", "destination that does not accept"),
        (Immovable, "reschedule", "movable"),
        (Home, "reschedule", "target gives"),
        (Huge, "scale", "drains"),
        (Fractional, "scale", "not an int"),
        (ByName, "order", "identities"),
        (Endless, "order", "finite"),
        (Scalar, "order", "finite"),
        (Beyond, "preempt", "position"),
    ],
)
def test_each_broken_rule_of_a_domain_is_found(policy, domain, sentence):
    assert any(sentence in text for text in violations(policy, f"serving.{domain}"))


def test_questions_are_drawn_from_the_generator_alone():
    for questions in QUESTIONS.values():
        first, again, other = (questions(np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert repr([q.views for q in first]) == repr([q.views for q in again]) != repr([q.views for q in other])


@settings(deadline=None, max_examples=50)
@given(fleet_views())
def test_fleet_views_are_consistent(fleet):
    assert fleet.accepting.any()
    assert (fleet.active | ~fleet.accepting).all()
    assert ((fleet.free >= 0) & (fleet.free <= fleet.total)).all()
    assert (fleet.as_of <= fleet.now).all()
    assert ((fleet.head_blocks > 0) == (fleet.waiting > 0)).all()
    assert (fleet.waiting_blocks >= fleet.head_blocks).all()
    assert (fleet.urgent <= fleet.running + fleet.waiting).all()
    assert ((fleet.running > 0) == (fleet.kv_tokens > 0)).all()


@settings(deadline=None, max_examples=50)
@given(batch_views(), queue_views())
def test_batch_and_queue_views_are_consistent(batch, queue):
    assert len(set(batch.id.tolist())) == len(batch.id) > 0
    assert (batch.decoding | ~batch.movable).all()
    assert (batch.blocks * 16 >= batch.prompt + batch.generated).all()
    arrivals = [request.arrival for request in queue.requests]
    assert arrivals == sorted(arrivals)
    assert max(arrivals) <= queue.now
    assert (queue.cached <= [request.prompt for request in queue.requests]).all()


def test_a_fleet_of_a_given_size():
    assert len(fleet_view(np.random.default_rng(0), 3)) == 3
