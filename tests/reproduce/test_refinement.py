"""The refinement experiment, small: the curves are the authors', runs side by side do not see each other, every claim is answered."""

import numpy as np
import pytest

from rota.reproduce import refinement
from rota.training import constant, linear
from rota.training.refinement import factors

torch = pytest.importorskip("torch")

from rota.reproduce._refinement_tasks import CharacterModel, ZipfAdam, ZipfLogistic, corpus  # noqa: E402


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
        expected = float(task.loss(parameters, task.held_out(0, "test")))
    assert task.losses([(constant(), 0.01)], 0)[0] == pytest.approx(expected, rel=1e-5)


def test_the_best_rate_is_the_best_and_never_one_that_diverged():
    class Bowl(ZipfLogistic):
        rates = (1.0, 2.0, 4.0)

        def losses(self, pairs, seed, held="test"):
            assert held == "validation"
            return np.array([np.nan if rate == 4.0 and seed else abs(rate - 3.5) for _, rate in pairs])

    assert refinement.best_rates(Bowl(1), {"linear": linear()}, range(2)) == {"linear": 2.0}
    assert refinement.best_rates(Bowl(1), {"linear": linear()}, range(1)) == {"linear": 4.0}


def test_no_window_of_the_text_has_two_uses():
    task, uses = CharacterModel(1), ("train", "validation", "test")
    ends = [0]
    for use in uses:
        first, end = task.places(use)
        assert first >= ends[-1]
        assert end > first
        ends.append(end - 1 + task.CONTEXT + 1)
    assert ends[-1] <= len(corpus())
    assert [round(end / len(corpus()), 3) for end in ends] == [0, 0.8, 0.9, 1]
    task.BATCH = task.JUDGED = 20_000
    drawn = [next(iter(task.batches(0))), task.held_out(0, "validation"), task.held_out(0, "test")]
    for use, (before, after) in zip(uses, drawn, strict=True):
        first, end = task.places(use)
        own = torch.from_numpy(corpus()[first : end + task.CONTEXT]).unfold(0, task.CONTEXT + 1, 1)
        known = {tuple(window) for window in own.tolist()}
        assert {tuple(window) for window in torch.column_stack([before, after]).tolist()} <= known


@pytest.mark.parametrize("kind", [ZipfLogistic, ZipfAdam, CharacterModel])
def test_tuning_and_judging_see_other_data(kind):
    task = kind(1)
    (tuned, _), (judged, _) = (task.held_out(0, held) for held in ("validation", "test"))
    assert tuned.shape == judged.shape
    assert not torch.equal(tuned, judged)


def test_norms_are_the_mean_of_several_runs():
    task = ZipfLogistic(12)
    each = [task.record(linear(), 8.0, seed).norms(2) for seed in (1, 2)]
    assert not np.allclose(*each)
    np.testing.assert_allclose(refinement.recorded(task, 8.0, range(1, 3)), (each[0] + each[1]) / 2)


def test_edges_count_rates_at_either_end():
    task = ZipfLogistic(1)
    rates = {"a": task.rates[0], "b": task.rates[-1], "c": task.rates[3]}
    assert refinement.edges(task, rates) == "2 of 3 tuned base rates lie at an edge of the grid"


class Diverging(ZipfLogistic):
    """The refined schedule diverges on seed 1, where all judged runs have the loss 1 otherwise."""

    def losses(self, pairs, seed, held="test"):
        if held == "validation":
            return np.full(len(pairs), 1.0)
        return np.array([np.nan if seed == 1 and k == 3 else 1 + 0.01 * k + 0.001 * seed for k in range(len(pairs))])


def test_a_diverged_run_is_a_loss_for_its_schedule():
    stated = {claim.id: claim for claim in refinement.CLAIMS}
    found = {c.id: c for c in refinement._training(stated, "zipf", Diverging(12), 3, 2)}
    refined, cosine = found["zipf-refined-linear"], found["zipf-linear-cosine"]
    assert refined.measured < -100
    assert np.isfinite(refined.interval).all()
    assert refined.baseline["refined"] > 3
    assert cosine.measured == pytest.approx(1, abs=0.1)
    assert all("1 of 12 judged runs diverged and count as 10 times" in claim.differs for claim in found.values())
    assert all("4 of 4 tuned base rates lie at an edge" in claim.differs for claim in found.values())


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
