"""The We-Math experiment, small: arms differ in the policy alone, and every claim is answered."""

import math

import pytest

from rota.reproduce import we_math
from rota.training.samples import ReleasedWeMath
from rota.training.samples.lattice import node
from rota.training.samples.released import BACK, CHAIN


@pytest.fixture(scope="module")
def claims():
    return we_math.run(seeds=2, quick=True)


def test_every_claim_is_answered(claims):
    assert [c.id for c in claims] == [c.id for c in we_math.CLAIMS]
    for claim in claims:
        assert claim.differs
        if claim.verdict != "not shown here":
            assert claim.interval is not None


def test_simulation_and_reconstruction_are_named(claims):
    for claim in claims:
        if claim.measured is not None:
            assert "simulated learner" in claim.differs
        if claim.id.startswith("released"):
            assert "reconstruction" in claim.differs
            assert "1/9 of their rollouts on knowledge items" in claim.differs


def test_the_faults_of_the_release_show(claims):
    found = {c.id: c for c in claims}
    assert found["increments"].measured < 0.2
    assert found["increments"].baseline["rota's lattice"] > 0.5
    assert found["everyone"].measured == pytest.approx(512 / 591)
    assert found["everyone"].baseline == {"lattice": 1.0, "uniform": 1.0}
    assert found["increments"].verdict == found["everyone"].verdict == "does not hold"


class Mended(ReleasedWeMath):
    """Serves the increment that leads back to a variant after a failure at it, until that is solved."""

    def settle(self, results):
        super().settle(results)
        for group in self.wrong_pool:
            easier = {back: increment for increment, back in BACK.items()}
            self.where[group] = easier.get(self.where[group], self.where[group])
        self.wrong_pool.clear()


def test_a_release_that_gave_increments_would_be_seen(monkeypatch):
    faulty = we_math._increments(we_math.CLAIMS[6], 40, 2)
    monkeypatch.setitem(we_math.ARMS, "released", Mended)
    mended = we_math._increments(we_math.CLAIMS[6], 40, 2)
    assert faulty.id == "increments"
    assert mended.measured > faulty.measured + 0.3


def test_increments_count_between_a_failure_and_the_next_try():
    c, v = node("c"), node("v")
    tries = {
        "aided": [(1, c, False), (2, v, True), (3, c, True)],
        "served the failed variant first": [(1, c, False), (2, c, True), (2, v, True)],
        "solved by another rollout": [(1, c, False), (1, c, True), (2, c, True)],
        "not tried again": [(1, c, False), (2, v, False)],
        "failed at x0": [(1, node(""), False), (2, v, True), (3, node(""), True)],
        "same batch": [(1, c, False), (1, v, True), (2, c, True)],
    }
    found = {group: we_math.aided({group: own}, CHAIN) for group, own in tries.items()}
    assert found == dict(zip(tries, ([True], [False], [], [], [], [False]), strict=True))


def test_gains_are_differences_of_accuracies(claims):
    for claim in claims:
        arm = claim.id.split("-")[0].replace("schedule", "lattice")
        if arm in we_math.ARMS:
            assert claim.baseline.keys() == we_math.ARMS.keys()
            assert all(0 < accuracy < 1 for accuracy in claim.baseline.values())
            assert math.isclose(claim.measured, claim.baseline[arm] - claim.baseline["uniform"])


def test_learners_start_alike_and_uniform_sampling_leaves_room():
    found = {name: we_math._accuracy("uniform", practice, 40, 50, 7) for name, practice in we_math.LEARNERS.items()}
    assert all(0.2 < accuracy < 0.9 for accuracy in found.values())
