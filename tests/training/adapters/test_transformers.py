import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from rota.core.errors import InputError  # noqa: E402
from rota.training import schedule  # noqa: E402
from rota.training.adapters.torch import ScheduledLR  # noqa: E402
from rota.training.adapters.transformers import get_schedule, scheduled  # noqa: E402

SPEC = "warmup(0.25) >> rex()"
BASE, STEPS = 0.01, 12
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


class Rates(transformers.TrainerCallback):
    """Notes the learning rate that each step was taken with."""

    def __init__(self):
        self.seen = {}

    def on_pre_optimizer_step(self, args, state, control, optimizer, **more):
        self.seen[state.global_step] = optimizer.param_groups[0]["lr"]


def model():
    torch.manual_seed(0)
    shape = {
        "n_layer": 1,
        "n_head": 2,
        "n_embd": 8,
        "n_positions": 8,
        "vocab_size": 16,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape))


def train(folder, trainer=None, resume=None, stop=None, epochs=1, **more):
    """The callback of a run of `STEPS` steps on 24 sequences, two a step; `stop` ends it early."""
    rates = Rates()
    args = transformers.TrainingArguments(
        str(folder), learning_rate=BASE, per_device_train_batch_size=2, num_train_epochs=epochs, save_steps=5, use_cpu=True,
        report_to=[], disable_tqdm=True, logging_strategy="no", seed=0, dataloader_pin_memory=False,
    )  # fmt: skip
    tokens = torch.randint(16, (2 * STEPS, 8), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    made = trainer(
        model=model(), args=args, train_dataset=data, callbacks=[rates, *([Stop(stop)] if stop else [])], **more
    )
    made.train(resume_from_checkpoint=resume)
    return rates.seen, made


class Stop(transformers.TrainerCallback):
    def __init__(self, at):
        self.at = at

    def on_step_end(self, args, state, control, **more):
        control.should_training_stop = state.global_step >= self.at


def expected():
    plan = schedule(SPEC).over(STEPS)
    return {t: BASE * plan(t) for t in range(STEPS)}


def test_a_scheduled_trainer_takes_every_step_at_its_rate(tmp_path):
    seen, made = train(tmp_path, scheduled(transformers.Trainer, SPEC))
    assert seen == expected()
    assert isinstance(made.lr_scheduler, ScheduledLR)
    assert type(made).__name__ == "ScheduledTrainer"


def test_a_run_resumed_from_a_checkpoint_has_equal_rates(tmp_path):
    before, _ = train(tmp_path, scheduled(transformers.Trainer, SPEC), stop=7)
    assert before == {t: rate for t, rate in expected().items() if t < 7}
    after, made = train(tmp_path, scheduled(transformers.Trainer, SPEC), resume=str(tmp_path / "checkpoint-5"))
    assert after == {t: rate for t, rate in expected().items() if t >= 5}
    assert made.lr_scheduler.last_epoch == STEPS


@pytest.mark.parametrize("epochs", [2, 0.75])
def test_a_run_resumed_with_another_budget_is_stretched(tmp_path, epochs):
    train(tmp_path, scheduled(transformers.Trainer, SPEC), stop=7)
    resumed = str(tmp_path / "checkpoint-5")
    after, made = train(tmp_path, scheduled(transformers.Trainer, SPEC), resume=resumed, epochs=epochs)
    total = int(epochs * STEPS)
    plan = schedule(SPEC).over(STEPS).stretched(5, total)
    assert after == {t: BASE * plan(t) for t in range(5, total)}
    assert (made.lr_scheduler.last_epoch, made.lr_scheduler.get_last_lr()) == (total, [0.0, 0.0])


def test_a_finished_run_cannot_be_stretched(tmp_path):
    _, made = train(tmp_path, scheduled(transformers.Trainer, SPEC))
    longer = get_schedule(torch.optim.SGD(made.model.parameters(), lr=BASE), SPEC, 2 * STEPS)
    longer.optimizer.param_groups.append(dict(longer.optimizer.param_groups[0]))
    with pytest.raises(InputError, match=r"^stretch: found at step 12, expected"):
        longer.load_state_dict(made.lr_scheduler.state_dict())


def test_a_scheduler_can_be_passed_with_its_optimiser(tmp_path):
    class Trainer(transformers.Trainer):
        def __init__(self, model, **more):
            optimizer = torch.optim.AdamW(model.parameters(), lr=BASE)
            super().__init__(model=model, optimizers=(optimizer, get_schedule(optimizer, SPEC, STEPS)), **more)

    assert train(tmp_path, Trainer)[0] == expected()
    assert train(tmp_path / "both", scheduled(Trainer, "constant"))[0] == expected()


def test_mistakes_are_told_before_anything_is_loaded():
    with pytest.raises(InputError, match="did you mean rex"):
        scheduled(transformers.Trainer, "rexx")
    with pytest.raises(InputError, match=r"^trainer: found .*, expected transformers.Trainer"):
        scheduled(dict, SPEC)
