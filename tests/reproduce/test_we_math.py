"""The We-Math experiment, small: arms differ in the policy alone, and every claim is answered."""

import math

import pytest

from rota.reproduce import we_math


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


def test_the_faults_of_the_release_show(claims):
    found = {c.id: c for c in claims}
    assert found["increments"].measured == 0
    assert found["increments"].baseline == {"rota's lattice": 1.0}
    assert found["everyone"].measured == pytest.approx(512 / 591)
    assert found["everyone"].baseline == {"lattice": 1.0, "uniform": 1.0}
    assert found["increments"].verdict == found["everyone"].verdict == "does not hold"


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
