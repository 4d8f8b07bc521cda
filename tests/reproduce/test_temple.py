"""The TEMPLE toy, tiny: seeds do not see each other, arms differ in order and objective alone, and every claim is answered."""

import math
from collections import Counter

import numpy as np
import pytest

from rota.reproduce import temple
from rota.training.samples import Stage, StageSchedule

torch = pytest.importorskip("torch")

from rota.reproduce._temple_model import CLIPS, END, LENGTH, MAGNITUDES, NAMES, PAD, Settings, World, _logits  # noqa: E402

TINY = Settings(base=64, paired=12, tuned=32, held=8, base_passes=2.0, batch=16)
BASE = [Stage("base", {"base": 1}, "base", 2.0)]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world():
    return World(TINY, (0, 1))


@pytest.fixture(scope="module")
def claims():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temple, "QUICK", TINY)
        return temple.run(seeds=2, quick=True)


def test_every_claim_is_answered_once(claims):
    assert [c.id for c in claims] == [c.id for c in temple.CLAIMS]
    assert len({c.id for c in claims}) == len(claims) == 2 * len(temple.COMPARED) + 1
    assert claims[-1].measured is None
    for claim in claims[:-1]:
        assert "not video" in claim.differs
        assert "chosen captions alone" in claim.differs


def test_gains_are_differences_of_arms(claims):
    for claim in claims[:-1]:
        arm, other = temple.COMPARED[claim.id.rpartition("-")[0]]
        assert claim.baseline.keys() == {"base", *temple.ARMS}
        assert all(0 <= score <= 1 for score in claim.baseline.values())
        assert math.isclose(claim.measured, claim.baseline[arm] - claim.baseline[other], abs_tol=1e-12)
        assert claim.interval[0] <= claim.measured <= claim.interval[1]


def test_runs_are_reproducible(claims, monkeypatch):
    monkeypatch.setattr(temple, "SETTINGS", TINY)
    assert temple.run(seeds=2) == claims


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], "not shown here"),
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.61], "holds"),
        ([0.4, 0.5, 0.61], [0.5, 0.6, 0.7], "does not hold"),
        ([0.5, 0.6], [0.6, 0.5], "not shown here"),
        ([0.6], [0.5], "not shown here"),
    ],
)
def test_ties_are_ties(a, b, found):
    assert temple._sign(temple.paired_difference(a, b)) == found


def test_alignments_see_the_same_pairs_in_another_order(world):
    pairs = sum("magnitude" in item.coordinates for item in world.items)
    assert pairs == TINY.paired * 3 * len(MAGNITUDES)
    seen = {}
    for arm in ("easy to hard", "hard to easy", "mixed", "chosen captions"):
        schedule = StageSchedule(world.items, temple.ARMS[arm][1], pairs // 9, 0)
        seen[arm] = [schedule.next(schedule.batch) for _ in range(schedule.total)]
        assert len(schedule.begins) == 3
        assert Counter(name for batch in seen[arm] for name in batch) == {
            item.id: 1 for item in world.items if "magnitude" in item.coordinates
        }
    assert seen["easy to hard"] == seen["chosen captions"] != seen["mixed"]
    levels = [{world.items[world.rows[name]].coordinates["magnitude"] for name in batch} for batch in seen["mixed"]]
    assert {8, 4, 2} in levels


def test_captions_name_their_clips(world):
    assert world.clips.shape == (2, len(world.items), CLIPS)
    assert world.chosen.shape == world.rejected.shape == (2, len(world.items), LENGTH)
    right = np.concatenate([world.clips + NAMES, np.full((2, len(world.items), 1), END)], axis=-1)
    pairs = np.array(["magnitude" in item.coordinates for item in world.items])
    assert (world.chosen == right)[:, pairs].all()
    assert (world.chosen != world.rejected)[:, pairs].any(-1).all()
    assert (np.sort(world.chosen, axis=-1) == np.sort(right, axis=-1)).all()
    assert not (world.chosen == right)[:, ~pairs].all()
    dropped = [row for row, item in enumerate(world.items) if "drop" in item.id]
    kept = [CLIPS // world.items[row].coordinates["magnitude"] for row in dropped]
    assert ((world.rejected[:, dropped] != PAD).sum(-1) == np.array(kept) + 1).all()


def test_seeds_side_by_side_do_not_see_each_other(world):
    both = world.train(world.start(), [*BASE, *temple.EASY])
    for k in (0, 1):
        single = World(TINY, (k,))
        alone = single.train(single.start(), [*BASE, *temple.EASY])
        for name in both:
            torch.testing.assert_close(both[name][k : k + 1], alone[name], rtol=1e-3, atol=1e-4)
    assert not torch.equal(both["head"][0], both["head"][1])


def test_training_leaves_the_weights_it_starts_from(world):
    start = world.start()
    before = {name: w.clone() for name, w in start.items()}
    after = world.train(start, temple.TUNE)
    assert all(torch.equal(start[name], before[name]) for name in start)
    assert not any(torch.equal(after[name], before[name]) for name in start)


def test_a_name_depends_on_what_was_written_before_it_only(world):
    clips, captions = torch.from_numpy(world.clips[:, :4]), torch.from_numpy(world.chosen[:, :4])
    other = captions.clone()
    other[..., 5] = (other[..., 5] - NAMES + 1) % NAMES + NAMES
    one, two = (_logits(torch, world.start(), clips, written) for written in (captions, other))
    torch.testing.assert_close(one[:, :, :6], two[:, :, :6])
    assert (one[:, :, 6] - two[:, :, 6]).abs().max() > 1e-3


def test_a_new_reference_starts_at_even_odds(world):
    batch = tuple(torch.from_numpy(x[:, -16:]) for x in (world.clips, world.chosen, world.rejected))
    weights = world.start()
    dpo, plain = (world._loss(objective, weights, weights, batch) for objective in ("dpo", "sft"))
    torch.testing.assert_close(dpo, 2 * math.log(2) + TINY.keep * plain)


def test_padding_does_not_count(world):
    clips = torch.from_numpy(world.clips[:, :1])
    short = torch.full((2, 1, LENGTH), PAD)
    short[..., :2] = torch.tensor([NAMES, END])
    logits = _logits(torch, world.start(), clips, short).log_softmax(-1)
    expected = logits[..., 0, NAMES] + logits[..., 1, END]
    torch.testing.assert_close(world._likelihoods(world.start(), clips, short), expected)


def test_a_copying_task_is_learnt():
    settings = Settings(base=1024, paired=3, tuned=3, held=64, base_noise=0.0)
    easy = World(settings, (7,))
    start = easy.start()
    learnt = easy.train(start, [Stage("base", {"base": 1}, "base", 8.0)])
    assert easy.exact(start) == 0
    assert easy.exact(learnt) > 0.8
    assert easy.order(learnt) > 0.95
