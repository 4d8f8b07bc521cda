import numpy as np
import pytest

from rota.core.errors import InputError
from rota.serving.lengths.scores import floor_of_law, floor_of_samples
from rota.serving.lengths.synthetic import CAPPED, SyntheticLengths


def test_lengths_follow_the_law_that_is_handed_out():
    workload, law = SyntheticLengths().workload(20_000, rate=2.0, seed=1)
    ranks = np.array(
        [one.cdf(y) - one.weight[one.support == y][0] / 2 for one, y in zip(law, workload.output, strict=True)]
    )
    assert ranks.mean() == pytest.approx(0.5, abs=0.01)
    assert np.mean(ranks < 0.1) == pytest.approx(0.1, abs=0.01)
    assert workload.rate == pytest.approx(2.0, rel=0.03)
    assert np.mean(workload.output == CAPPED) == pytest.approx(0.001, abs=0.0007)
    assert workload.prompt.max() <= 2500


def test_the_same_seed_gives_the_same_workload_and_another_seed_another():
    first, law = SyntheticLengths().workload(50, 1.0, seed=3)
    again, same = SyntheticLengths().workload(50, 1.0, seed=3)
    assert first.output.tolist() == again.output.tolist()
    assert law == same
    assert first.output.tolist() != SyntheticLengths().workload(50, 1.0, seed=4)[0].output.tolist()


def test_the_noise_share_moves_what_can_be_known():
    floors = []
    for share in (0.0, 0.5, 1.0):
        law = SyntheticLengths(noise_share=share, degenerate=0.0).workload(3000, 1.0)[1]
        floors.append(floor_of_law(law).crps)
    assert floors[0] == 0
    assert floors[0] < floors[1] < floors[2]


def test_samples_have_the_shape_and_the_floor_of_their_law():
    rows, law = SyntheticLengths(degenerate=0.0).samples(3000)
    assert {len(r.output_sizes) for r in rows} == {10}
    assert len({r.dataset for r in rows}) == 7
    assert floor_of_samples([r.output_sizes for r in rows]).crps == pytest.approx(floor_of_law(law).crps, rel=0.02)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"noise_share: found 1.2, expected a share in \[0, 1\]"):
        SyntheticLengths(noise_share=1.2)
    with pytest.raises(InputError, match="degenerate: found 1, expected a probability"):
        SyntheticLengths(degenerate=1)
    with pytest.raises(InputError, match="found 5 requests at 0 a second"):
        SyntheticLengths().workload(5, 0.0)
