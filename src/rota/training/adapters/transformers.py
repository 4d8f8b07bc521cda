"""Schedules in transformers, and in everything that derives from its Trainer (TRL's trainers too).

The Trainer makes its scheduler itself, once it knows how many steps there will be; so the way in is a subclass of it:

    trainer = scheduled(Trainer, "warmup(0.05) >> rex()")(model=model, args=args, train_dataset=data)

Who makes the optimiser and knows the number of steps passes both: `Trainer(..., optimizers=(optimizer, get_schedule(optimizer, "rex", 10_000)))`.
Either way the Trainer saves the scheduler with every checkpoint, and a resumed run goes on with bit-equal learning rates. If it is
resumed with more or fewer epochs, the checkpoint's schedule is stretched: what is left of it over what is left of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rota.core.errors import InputError, optional
from rota.training.adapters.torch import ScheduledLR, Spec
from rota.training.schedule import Schedule
from rota.training.spelling import schedule as parse

if TYPE_CHECKING:
    import torch


class BudgetedLR(ScheduledLR):
    """A ScheduledLR that keeps its own total when it goes on from a state with another one, and stretches the schedule to it."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `ScheduledLR.load_state_dict`.

        Raises:
            InputError: the run that is to be longer was over already.
        """
        total = self.total
        super().load_state_dict(state_dict)
        if total != self.total and self.last_epoch < total:
            self.stretch(total)


def get_schedule(optimizer: torch.optim.Optimizer, schedule: Spec, num_training_steps: int) -> BudgetedLR:
    """A scheduler, by the signature that transformers' own `get_..._schedule` functions share.

    Raises:
        InputError: no such schedule, or a number of steps that is not positive.
    """
    return BudgetedLR(optimizer, schedule, num_training_steps)


def scheduled(trainer: type, schedule: Spec) -> type:
    """A subclass of a Trainer class whose learning rates follow `schedule`, over as many steps as the training turns out to have.

    `lr_scheduler_type` and the warm-up of its arguments then have no effect: a warm-up is written `warmup(0.05) >> ...`. A scheduler
    that is passed in `optimizers` still goes first.

    Args:
        trainer: `transformers.Trainer`, or a class derived from it.
        schedule: a schedule or its text; read now, so that a mistake shows before anything is loaded.

    Raises:
        InputError: no such schedule, or the class is not a Trainer.
    """
    found: Schedule = parse(schedule) if isinstance(schedule, str) else schedule
    if not (isinstance(trainer, type) and issubclass(trainer, optional("transformers").Trainer)):
        raise InputError("trainer", repr(trainer), "transformers.Trainer or a class derived from it")

    def create_scheduler(self: Any, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = get_schedule(optimizer or self.optimizer, found, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    create_scheduler.__doc__ = f"The learning rates of {found!r}."
    return type(f"Scheduled{trainer.__name__}", (trainer,), {"create_scheduler": create_scheduler})
