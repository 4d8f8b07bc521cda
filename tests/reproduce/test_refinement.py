"""The refinement experiment, small: the curves are the authors', runs side by side do not see each other, every claim is answered."""

import numpy as np
import pytest

from rota.reproduce import refinement
from rota.training import constant, linear
from rota.training.refinement import factors

torch = pytest.importorskip("torch")

from rota.reproduce._refinement_tasks import CharacterModel, ZipfAdam, ZipfLogistic  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("flat", 0.5, 0.4997), ("early-fall", 0.0, 0.0109), ("late-rise", 0.75, 0.0624), ("late-fall", 0.5, 0.8599)],
)
def test_the_synthetic_curves_give_the_values_of_the_notes(name, place, value):
    entries = factors(refinement.curve(name))[1:]
    assert entries[int(place * refinement.LENGTH)] / entries.max() == pytest.approx(value, abs=1e-4)
    assert entries.argmax() / refinement.LENGTH == pytest.approx(refinement.PEAKS[name])


@pytest.mark.parametrize("kind", [ZipfLogistic, ZipfAdam, CharacterModel])
def test_runs_side_by_side_do_not_see_each_other(kind):
    task = kind(20)
    rates = task.rates[2:5]
    together = task.losses([(linear(), rate) for rate in rates], 3)
    alone = [task.losses([(linear(), rate)], 3)[0] for rate in rates]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert len(set(np.round(together, 5))) == 3


def test_the_own_adam_is_torchs():
    task = CharacterModel(15)
    parameters = [p.requires_grad_() for p in task.start(1, 0)]
    theirs = torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.99), eps=1e-8)
    for batch in task.batches(0):
        theirs.zero_grad()
        task.loss(parameters, batch).sum().backward()
        theirs.step()
    with torch.no_grad():
        expected = float(task.loss(parameters, task.held_out(0)))
    assert task.losses([(constant(), 0.01)], 0)[0] == pytest.approx(expected, rel=1e-5)


def test_the_best_rate_is_the_best_and_never_one_that_diverged():
    class Bowl(ZipfLogistic):
        rates = (1.0, 2.0, 4.0)

        def losses(self, pairs, seed):
            return np.array([np.nan if rate == 4.0 and seed else abs(rate - 3.5) for _, rate in pairs])

    assert refinement.best_rates(Bowl(1), {"linear": linear()}, range(2)) == {"linear": 2.0}
    assert refinement.best_rates(Bowl(1), {"linear": linear()}, range(1)) == {"linear": 4.0}


def test_every_claim_is_answered():
    claims = refinement.run(seeds=2, quick=True)
    assert [c.id for c in claims] == [c.id for c in refinement.CLAIMS]
    found = {c.id: c for c in claims}
    assert found["constant"].verdict == found["last-linear"].verdict == found["last-inverse-sqrt"].verdict == "holds"
    assert found["last-linear"].measured == pytest.approx(1.0642, abs=1e-3)
    assert found["last-inverse-sqrt"].measured == pytest.approx(1.5313, abs=1e-3)
    assert found["logged-norms"].verdict == "not shown here"
    for name in refinement.TASKS:
        for side in ("linear-constant", "linear-cosine", "refined-linear"):
            claim = found[f"{name}-{side}"]
            low, high = claim.interval
            assert low <= claim.measured <= high
            assert ("a tie" in claim.differs) == (low <= 0 <= high)
