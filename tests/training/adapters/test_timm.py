import pytest

pytest.importorskip("timm")
torch = pytest.importorskip("torch")

from rota.core.errors import InputError  # noqa: E402
from rota.training import schedule  # noqa: E402
from rota.training.adapters.timm import ScheduledLR  # noqa: E402

SPEC = "warmup(2) >> rex()"


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def test_epochs_and_updates():
    plan = schedule(SPEC).over(10)
    for in_epochs in (True, False):
        scheduler = ScheduledLR(optimizer(), SPEC, 10, t_in_epochs=in_epochs)
        assert scheduler.optimizer.param_groups[0]["lr"] == 0.1 * plan(0)
        for t in range(12):
            scheduler.step(t)
            scheduler.step_update(t)
            assert scheduler.optimizer.param_groups[0]["lr"] == 0.1 * plan(min(t, 10))


def test_the_state_round_trip():
    scheduler = ScheduledLR(optimizer(), SPEC, 10)
    other = ScheduledLR(optimizer(), "constant", 3)
    other.load_state_dict(scheduler.state_dict())
    other.step(7)
    assert other.optimizer.param_groups[0]["lr"] == 0.1 * schedule(SPEC)(7, 10)


def test_an_unknown_schedule():
    with pytest.raises(InputError, match="did you mean rex"):
        ScheduledLR(optimizer(), "rexx", 10)
