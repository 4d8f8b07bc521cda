"""Real TRL trainers on a tiny model, offline: they draw what the policy decides, tell it the rewards, and resume."""

import json
import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch")
pytest.importorskip("trl")

import tiny_model  # noqa: E402
from datasets import Dataset, disable_progress_bars  # noqa: E402
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer  # noqa: E402

from rota.core.errors import InputError  # noqa: E402
from rota.training.samples import (  # noqa: E402
    Item,
    LatticeCurriculum,
    Stage,
    StageSchedule,
    UniformSampler,
    lattice_items,
)
from rota.training.samples.trl import FILE, REFERENCE, observing, rebase, scheduled  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
QUIET = {
    "report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_steps": 1000, "seed": 0, "bf16": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.set_num_threads(1)
    disable_progress_bars()
    return tiny_model.save(tmp_path_factory.mktemp("model"))


class Watched(LatticeCurriculum):
    """Notes what is asked and told, in order."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.log = []

    def next(self, count):
        batch = super().next(count)
        self.log.append(("next", tuple(batch)))
        return batch

    def observe(self, item, rewards):
        self.log.append(("observe", item, tuple(rewards)))
        super().observe(item, rewards)


def grpo(model, out, policy, seen, **more):
    items = list(policy.items)
    data = Dataset.from_dict({"prompt": [f"{k % 10} + {k % 7} =" for k in range(len(items))], "id": items[::-1]})

    def reward(completions, id, **_):
        seen.append(list(id))
        return [float(hash_of(name) % 3 > 0) for name in id]

    args = GRPOConfig(
        str(out), per_device_train_batch_size=4, num_generations=2, max_completion_length=4, gradient_accumulation_steps=2,
        learning_rate=1e-3, **{"max_steps": 4, "save_strategy": "no"} | more, **QUIET,
    )  # fmt: skip
    return scheduled(GRPOTrainer, policy)(model, reward_funcs=observing(policy, reward), train_dataset=data, args=args)


def hash_of(name):
    return sum(name.encode())


def test_grpo_credits_every_item_and_reads_one_batch_ahead(model, tmp_path):
    policy, seen = Watched(lattice_items(4)), []
    grpo(model, tmp_path, policy, seen).train()
    drawn = [entry[1] for entry in policy.log if entry[0] == "next"]
    assert len(seen) == 4
    for batch, names in zip(drawn, seen, strict=False):
        assert sorted(names) == sorted([*batch, *batch])
    told = [entry for entry in policy.log if entry[0] == "observe"]
    assert len(told) == sum(len(set(batch)) for batch in drawn[:4])
    assert all(rewards == (float(hash_of(item) % 3 > 0),) * 2 for _, item, rewards in told)
    kinds = [entry[0] for entry in policy.log]
    assert kinds[:2] == ["next", "next"]
    assert len(policy.open_batches) <= policy.staleness


def test_grpo_resumes_with_the_batches_of_an_unbroken_run(model, tmp_path):
    whole, first, second = [], [], []
    grpo(model, tmp_path / "whole", LatticeCurriculum(lattice_items(4)), whole, max_steps=6).train()
    grpo(
        model,
        tmp_path / "cut",
        LatticeCurriculum(lattice_items(4)),
        first,
        max_steps=3,
        save_strategy="steps",
        save_steps=3,
    ).train()
    again = grpo(
        model, tmp_path / "cut", LatticeCurriculum(lattice_items(4)), second, max_steps=6, ignore_data_skip=True
    )
    again.train(resume_from_checkpoint=True)
    assert (len(first), len(second)) == (3, 3)
    assert first + second == whole


def test_resuming_without_ignore_data_skip_is_refused(model, tmp_path):
    trainer = grpo(model, tmp_path, LatticeCurriculum(lattice_items(4)), [])
    with pytest.raises(InputError, match="ignore_data_skip"):
        trainer.train(resume_from_checkpoint=True)


def test_a_policy_without_staleness_is_refused():
    with pytest.raises(InputError, match="reads 1 batch ahead"):
        scheduled(GRPOTrainer, LatticeCurriculum(lattice_items(1), staleness=0))


def test_stages_of_several_objectives_need_several_trainers():
    mixed = StageSchedule(lattice_items(1), [Stage("a", until=1), Stage("b", objective="sft")], batch=1)
    with pytest.raises(InputError, match="the objectives dpo and sft"):
        scheduled(DPOTrainer, mixed)


def stages(**second):
    items = [Item(f"{m}/{k}", "", {"magnitude": m}) for m in (16, 2) for k in range(4)]
    parts = [Stage("easy", {"magnitude": 16}, until=2), Stage("hard", {"magnitude": 2}, **second)]
    return StageSchedule(items, parts, batch=2)


def dpo(model, out, policy, **more):
    names = list(policy.items)
    data = Dataset.from_dict(
        {
            "id": names,
            "prompt": ["a b"] * len(names),
            "chosen": [" c d"] * len(names),
            "rejected": [" d c"] * len(names),
        }
    )
    args = DPOConfig(
        str(out), per_device_train_batch_size=2, learning_rate=1e-2, max_length=16,
        **{"max_steps": 4, "save_strategy": "no"} | more, **QUIET,
    )  # fmt: skip
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    return scheduled(DPOTrainer, policy)(network, args=args, train_dataset=data, processing_class=tokenizer)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_dpo_rebases_its_reference_where_a_stage_begins(model, tmp_path):
    policy = stages()
    trainer = dpo(model, tmp_path, policy, max_steps=3, save_strategy="steps", save_steps=3)
    before = weights(trainer.ref_model)
    trainer.train()
    after = weights(trainer.ref_model)
    assert not torch.equal(before, after)
    assert not torch.equal(after, weights(trainer.model))
    saved = tmp_path / "checkpoint-3"
    assert json.loads((saved / FILE).read_text())["policy"] == "StageSchedule"
    other = dpo(model, tmp_path, stages(), max_steps=3, ignore_data_skip=True)
    other.train(resume_from_checkpoint=str(saved))
    assert (saved / REFERENCE).is_file()
    assert torch.equal(weights(other.ref_model), after)


class Noted(StageSchedule):
    """Notes what it draws."""

    def next(self, count):
        self.log = [*getattr(self, "log", []), super().next(count)]
        return self.log[-1]


def test_dpo_resumes_with_the_batches_of_an_unbroken_run(model, tmp_path):
    whole, first, second = (Noted(stages().items.values(), stages().stages, batch=4) for _ in range(3))
    common = {"gradient_accumulation_steps": 2}
    dpo(model, tmp_path / "whole", whole, max_steps=5, **common).train()
    dpo(model, tmp_path / "cut", first, max_steps=3, save_strategy="steps", save_steps=3, **common).train()
    dpo(model, tmp_path / "cut", second, max_steps=5, ignore_data_skip=True, **common).train(True)
    assert second.log[:2] == whole.log[3:5]
    assert first.log[:3] == whole.log[:3]


@pytest.mark.parametrize(("choice", "steps"), [("reset", 1), ("keep", 3)])
def test_dpo_resets_its_optimizer_only_where_a_stage_says_so(model, tmp_path, choice, steps):
    trainer = dpo(model, tmp_path, stages(reference="keep", optimizer=choice), max_steps=3)
    before = weights(trainer.ref_model)
    trainer.train()
    assert {int(state["step"]) for state in trainer.optimizer.state.values()} == {steps}
    assert torch.equal(weights(trainer.ref_model), before)


def test_dpo_without_a_reference_cannot_be_rebased(model, tmp_path):
    trainer = dpo(model, tmp_path, UniformSampler([Item(f"{k}") for k in range(4)]))
    trainer.ref_model = None
    with pytest.raises(InputError, match="reference='keep'"):
        rebase(trainer)


def test_a_dataset_without_the_column_is_refused(model, tmp_path):
    data = Dataset.from_dict({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    trainer = scheduled(DPOTrainer, UniformSampler([Item("0")]))
    with pytest.raises(InputError, match="no column 'id'"):
        trainer(model, args=DPOConfig(str(tmp_path), **QUIET), train_dataset=data)


def test_missing_rewards_and_unknown_names_do_not_mislead_the_policy():
    policy = Watched(lattice_items(2))
    policy.next(2)
    policy.log.clear()
    rewarded = observing(policy, lambda completions, **_: [1, None, None, 0.5])
    ids = ["0000/x0", "0000/x0", "0001/x0", "of the evaluation set"]
    assert rewarded(completions=ids, id=ids) == [1.0, None, None, 0.5]
    assert policy.log == [("observe", "0000/x0", (1.0,)), ("observe", "0001/x0", (0.0,))]
    with pytest.raises(InputError, match="no dataset column 'id'"):
        rewarded(completions=ids)


def test_what_is_in_no_open_batch_was_not_trained_on():
    policy = Watched(lattice_items(1))
    rewarded = observing(policy, lambda completions, **_: [1] * len(completions))
    rewarded(completions=["", ""], id=["0000/x0", "0000/s"])
    assert policy.log == []
    policy.next(1)
    rewarded(completions=["", ""], id=["0000/x0", "0000/s"])
    assert policy.log[1:] == [("observe", "0000/x0", (1.0,))]
    rewarded(completions=[""], id=["0000/x0"])
    assert len(policy.log) == 2


@pytest.mark.parametrize("more", [{"num_iterations": 2}, {"steps_per_generation": 4}])
def test_stages_need_a_batch_to_be_one_step(model, tmp_path, more):
    with pytest.raises(InputError, match=r"4 for 2 gradient_accumulation_steps.*one optimizer step"):
        grpo(model, tmp_path, StageSchedule(lattice_items(4), [Stage("a")], batch=4), [], **more)


def test_grpo_enters_stages_at_their_first_step(model, tmp_path):
    items = lattice_items(4)
    parts = [Stage("plain", {"s": 0}, until=1, reference="keep"), Stage("steps", {"s": 1}, reference="keep")]
    trainer = grpo(model, tmp_path, StageSchedule(items, parts, batch=4), seen := [], max_steps=3)
    trainer.train()
    assert [{"s" in name.split("/")[1] for name in names} for names in seen] == [{False}, {True}, {True}]
    assert {int(state["step"]) for state in trainer.optimizer.state.values()} == {2}
