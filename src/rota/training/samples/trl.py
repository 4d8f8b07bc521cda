"""Sample policies in TRL's trainers.

    policy = LatticeCurriculum(items)
    Trainer = scheduled(GRPOTrainer, policy, column="id")
    trainer = Trainer(model, reward_funcs=observing(policy, reward, column="id"), train_dataset=dataset, args=args)

The dataset has one row for each item, and a column with the items' names. Checkpoints hold the policy; to resume from one, set
`ignore_data_skip=True`, for the policy knows where it was. TRL's loader reads one batch ahead, so that a policy which learns
needs a staleness of at least 1. Written against TRL 1.16 and transformers 5.23.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from rota.core.atomic import atomic_write
from rota.core.errors import InputError, optional
from rota.training.samples.policy import SamplePolicy
from rota.training.samples.rewards import RewardFunction
from rota.training.samples.stages import StageSchedule
from rota.training.samples.uniform import UniformSampler

optional("transformers")
from transformers import TrainerCallback  # noqa: E402

FILE = "rota_samples.json"
REFERENCE = "rota_reference.pt"
PREFETCH = 1
"""Batches that accelerate's loader draws before the present one is worked on."""


def scheduled(trainer: type, policy: SamplePolicy, column: str = "id") -> type:
    """A trainer class that draws what a policy decides, keeps the policy in its checkpoints, and resumes it from there.

    Args:
        trainer: a TRL trainer class, such as `GRPOTrainer` or `DPOTrainer`.
        policy: decides; of staleness 1 or more, or None.
        column: of the dataset, with the items' names.

    Raises:
        InputError: a policy that cannot bear TRL's reading ahead, or stages of several objectives; later, a dataset without the
            names, a preparation that filters rows out, stages in a trainer that does not work on one batch in one optimizer
            step, or a checkpoint without the policy.
    """
    if policy.staleness is not None and policy.staleness < PREFETCH:
        raise InputError(
            "staleness", str(policy.staleness), f"at least {PREFETCH}, for TRL reads {PREFETCH} batch ahead"
        )

    objectives = {stage.objective for stage in policy.stages} if isinstance(policy, StageSchedule) else set()
    if len(objectives) > 1:
        found = f"the objectives {' and '.join(sorted(objectives))}"
        raise InputError(
            "stages", found, "one, for a TRL trainer has one: give each objective a trainer and a schedule"
        )

    class Scheduled(trainer):
        def __init__(self, *args: Any, train_dataset: Any, **kwargs: Any) -> None:
            self._rows = _rows(train_dataset, column)  # here, for DPO's own preparation drops the column
            super().__init__(*args, train_dataset=train_dataset, **kwargs)
            self.add_callback(KeepPolicy(policy))
            if isinstance(policy, StageSchedule):
                _check_steps(self)
                self.add_callback(EnterStages(policy, self))

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            from rota.training.samples.torch_sampler import ScheduledSampler

            data = self.train_dataset if dataset is None else dataset
            if len(data) != len(self._rows):
                raise InputError("dataset", f"{len(data)} prepared rows", f"{len(self._rows)}, none filtered out")
            count, copies, repeats = _batch(self)
            batches = max(1, len(data) // count)
            return ScheduledSampler(policy, self._rows, count, batches, copies=copies, repeats=repeats)

        def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
            if resume_from_checkpoint:
                resume_from_checkpoint = _resume(self, policy, resume_from_checkpoint)
            return super().train(resume_from_checkpoint, *args, **kwargs)

    Scheduled.__name__ = Scheduled.__qualname__ = trainer.__name__
    return Scheduled


def observing(policy: SamplePolicy, function: RewardFunction, column: str = "id") -> Callable[..., list[float | None]]:
    """A TRL reward function that also tells a policy what each item was rewarded.

    Rewards are matched by the items' names, whatever the order of the batch, and gathered from all processes. A completion
    without a reward (None) does not count; an item without any counts as one failure. Evaluation is not training: names that
    the policy does not know are passed over, and so are, by a policy with a staleness, names in none of its open batches. A name
    of an evaluation set that is in an open batch cannot be told from it: give evaluation sets names of their own.

    Raises:
        InputError: (when called) the dataset has no such column.
    """

    def rewarded(*args: Any, **columns: Any) -> list[float | None]:
        """The rewards of `function`, one a completion; `columns` are the dataset's, one value a completion."""
        if column not in columns:
            raise InputError("observing", f"no dataset column {column!r}", f"one of {', '.join(sorted(columns))}")
        rewards = [None if reward is None else float(reward) for reward in function(*args, **columns)]
        expected, found = _expected(policy), dict[str, list[float]]()
        for name, reward in _everywhere(list(zip(columns[column], rewards, strict=True))):
            if name in expected:
                found.setdefault(name, []).extend([] if reward is None else [reward])
        for name, own in found.items():
            policy.observe(name, own or [0.0])
        return rewards

    rewarded.__name__ = getattr(function, "__name__", type(function).__name__)
    return rewarded


class KeepPolicy(TrainerCallback):
    """Writes a policy's state into every checkpoint."""

    def __init__(self, policy: SamplePolicy) -> None:
        self.policy = policy

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Beside the weights, from the main process."""
        if state.is_world_process_zero:
            with atomic_write(_checkpoint(args, state) / FILE, "w") as file:
                json.dump(self.policy.state_dict(), file)


class EnterStages(TrainerCallback):
    """At the first step of each stage after the first, re-bases the reference model and resets the optimizer, as it says.

    It compares optimizer steps with batches: `scheduled` refuses trainers in which the two differ.
    """

    def __init__(self, schedule: StageSchedule, trainer: Any) -> None:
        self.schedule, self.trainer = schedule, trainer

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Act if a stage begins."""
        stage = self.schedule.entered(state.global_step) if state.global_step else None
        if stage is not None and stage.reference == "rebase":
            rebase(self.trainer)
        if stage is not None and stage.optimizer == "reset":
            kwargs["optimizer"].state.clear()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep a reference model that was re-based: the trainer would start again from the first one."""
        past = state.global_step > min(self.schedule.begins[1:], default=state.global_step)
        if past and state.is_world_process_zero and getattr(self.trainer, "ref_model", None) is not None:
            optional("torch").save(_reference(self.trainer).state_dict(), _checkpoint(args, state) / REFERENCE)


def rebase(trainer: Any) -> None:
    """Give the reference model the present weights.

    Raises:
        InputError: the trainer has no reference model of its own (PEFT adapters, precomputed log-probabilities).
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    _reference(trainer).load_state_dict(model.state_dict())


def _reference(trainer: Any) -> Any:
    if getattr(trainer, "ref_model", None) is None:
        raise InputError(
            "rebase", "a trainer without a reference model", "one that holds it (no PEFT), or reference='keep'"
        )
    return trainer.accelerator.unwrap_model(trainer.ref_model)


def _resume(trainer: Any, policy: SamplePolicy, checkpoint: str | bool) -> str:
    from transformers.trainer_utils import get_last_checkpoint

    found = get_last_checkpoint(trainer.args.output_dir) if checkpoint is True else str(checkpoint)
    if not trainer.args.ignore_data_skip:
        raise InputError("ignore_data_skip", "False", "True, for the policy itself goes on where it was")
    if found is None or not (Path(found) / FILE).is_file():
        raise InputError(
            f"{found or trainer.args.output_dir}", f"no {FILE}", "a checkpoint that a scheduled trainer wrote"
        )
    policy.load_state_dict(json.loads((Path(found) / FILE).read_text(encoding="utf-8")))
    if isinstance(policy, StageSchedule | UniformSampler):
        policy.go_to(_consumed(trainer, found), _batch(trainer)[0])
    if (Path(found) / REFERENCE).is_file():
        _reference(trainer).load_state_dict(optional("torch").load(Path(found) / REFERENCE, weights_only=True))
    return found


def _rows(dataset: Any, column: str) -> dict[str, int]:
    if column not in dataset.column_names:
        raise InputError("dataset", f"no column {column!r}", f"one of {', '.join(dataset.column_names)}")
    rows = {name: row for row, name in enumerate(dataset[column])}
    if len(rows) < len(dataset):
        raise InputError(
            "dataset", f"{len(rows)} names in {len(dataset)} rows", f"a name of its own in each row of {column!r}"
        )
    return rows


def _batch(trainer: Any) -> tuple[int, int, int]:
    """Items a batch, copies of each in succession, and repeats of the batch, as this trainer consumes rows."""
    args = trainer.args
    if hasattr(trainer, "num_generations"):
        repeats = trainer.num_iterations * args.steps_per_generation
        return args.generation_batch_size // trainer.num_generations, trainer.num_generations, repeats
    return args.train_batch_size * args.gradient_accumulation_steps * args.world_size, 1, 1


def _consumed(trainer: Any, checkpoint: str) -> int:
    """Batches that were worked on in full at a checkpoint: those drawn, less what the loader had read ahead."""
    step = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
    return step * trainer.args.gradient_accumulation_steps // _passes(trainer)


def _passes(trainer: Any) -> int:
    """Forward and backward passes that a batch is worked on in; `gradient_accumulation_steps` of them are one step."""
    return _batch(trainer)[2] if hasattr(trainer, "num_generations") else trainer.args.gradient_accumulation_steps


def _check_steps(trainer: Any) -> None:
    passes, accumulation = _passes(trainer), trainer.args.gradient_accumulation_steps
    if passes != accumulation:
        found = f"{passes} for {accumulation} gradient_accumulation_steps"
        expected = "as many of the one as of the other, for a batch of a StageSchedule is one optimizer step"
        raise InputError("num_iterations * steps_per_generation", found, expected)


def _expected(policy: SamplePolicy) -> Container[str]:
    """The names whose rewards may be of training."""
    if policy.staleness is None or not hasattr(policy, "open_batches"):
        return policy.items
    return {name for batch in policy.open_batches for name in batch}


def _everywhere(pairs: list[tuple[str, float | None]]) -> Sequence[tuple[str, float | None]]:
    """The pairs of all processes."""
    accelerate = optional("accelerate")  # the Trainer itself needs it, so it is there
    return pairs if accelerate.PartialState().num_processes == 1 else accelerate.utils.gather_object(pairs)


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
