"""The experiment of CASTILLO, small: its outcome where it is beyond doubt, and that it says what it cannot show."""

import json

import numpy as np
import pytest

from rota.reproduce import castillo, reproduce
from rota.serving.lengths.scores import floor_of_law


@pytest.fixture(scope="module")
def outcome():
    return reproduce("castillo", seeds=2, quick=True)


def test_every_claim_is_answered_in_order(outcome):
    assert [claim.id for claim in outcome.claims] == [stated.id for stated in castillo.CLAIMS]
    by_id = {claim.id: claim for claim in outcome.claims}
    assert by_id["variation"].verdict == "not shown here"
    assert "data set" in by_id["variation"].differs
    assert all("SYNTHETIC" in claim.differs for claim in outcome.claims if claim.measured is not None)
    assert json.loads(outcome.to_json())["paper"] == castillo.PAPER


def test_what_is_beyond_doubt(outcome):
    value = {claim.id: claim.measured for claim in outcome.claims}
    assert value["ttft-rush"] > 1.3
    assert value["noise-floor"] > 1.2
    assert 0 < value["bounded-gain"] < 1
    assert value["noise-costs"] > 0
    assert value["ttft-p99"] < 1


def test_the_rungs_of_the_ladder_know_more_and_more():
    scene = castillo.Scene.of(400, 1.0, seed=3)
    views = list(scene.workload.requests())
    errors = []
    for name in castillo.LADDER[1:]:
        answers = scene.predictor(name).annotate(views)
        errors.append(
            np.mean([abs(v.predicted.mean() - y) for v, y in zip(answers, scene.workload.output, strict=True)])
        )
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0
    assert errors[-2] > 0.5 * floor_of_law(scene.law).mae_low


def test_the_history_is_not_what_is_judged():
    scene = castillo.Scene.of(50, 1.0, seed=0)
    assert scene.history.output.tolist() != scene.workload.output.tolist()
