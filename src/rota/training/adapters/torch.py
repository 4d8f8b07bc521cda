"""Schedules in PyTorch: the learning rate of step t is base x schedule(t, total), from the closed form alone.

    scheduler = ScheduledLR(optimizer, "warmup(0.05) >> rex()", total=10_000)
    for batch in batches:
        ...
        optimizer.step()
        scheduler.step()

No step builds on the one before, so nothing drifts: after a resume, under SequentialLR or under ChainedScheduler the learning
rates are bit-equal to those of a run that was never touched. Sequences and products are best written in the schedule's own algebra
(`a >> b`, `a * b`): as part of a ChainedScheduler the closed form replaces what schedulers before it have set, and a SequentialLR
within another one counts a step too many (PyTorch #196243), which no part of it can undo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from rota.core.errors import InputError, optional
from rota.training.schedule import Schedule, check_total
from rota.training.spelling import schedule as parse

optional("torch")

import torch  # noqa: E402
from torch.optim.lr_scheduler import LRScheduler  # noqa: E402

Spec = Schedule | str
BLOCK = 256
"""Steps whose factors are worked out together: a vector costs little more than a number."""


class ScheduledLR(LRScheduler):
    """The learning rates of an optimiser by a schedule.

    A learning rate that is a tensor is filled in place (compiled and captured optimisers keep reading it); groups that share one
    tensor get one each. A group that is added later starts from its own learning rate, and follows the last schedule.

    Args:
        optimizer: any PyTorch optimiser; the learning rates it has are the base ones.
        schedule: a schedule or its text, or one for each parameter group.
        total: steps of the run.
        last_epoch: the last step that was taken, as in every PyTorch scheduler; -1 for a new run.

    Raises:
        InputError: no such schedule or total, not one schedule for each group, or a step outside the run.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Spec | Sequence[Spec], total: int, last_epoch: int = -1
    ) -> None:
        self._set(_schedules(schedule, len(optimizer.param_groups)), _whole_total(total))
        if last_epoch != -1 and any("initial_lr" not in group for group in optimizer.param_groups):
            raise InputError(
                "last_epoch", str(last_epoch), "-1, as the optimiser has no initial_lr (or load its state first)"
            )
        self._check(last_epoch + 1)
        _part(optimizer.param_groups)
        super().__init__(optimizer, last_epoch)
        self.base_lrs: list[float] = [float(base) for base in self.base_lrs]  # type: ignore[assignment]

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step (or to step `epoch`).

        Raises:
            InputError: there is no such step; the scheduler stays where it was.
        """
        self._check(self.last_epoch + 1 if epoch is None else epoch)
        super().step(epoch)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The learning rate of every group at the present step."""
        if len(self.base_lrs) < len(self.optimizer.param_groups):
            self._adopt()
        factors = self._factors(self.last_epoch)
        if len(factors) < len(self.base_lrs):
            factors = factors + factors[-1:] * (len(self.base_lrs) - len(factors))
        return [float(base) * factor for base, factor in zip(self.base_lrs, factors, strict=True)]

    _get_closed_form_lr = get_lr

    def stretch(self, total: int) -> None:
        """Change the budget at the present step: what is left of the schedule is spread over what is left of the run.

        Raises:
            InputError: the run is over, or `total` is not past the present step.
        """
        total, now = _whole_total(total), max(self.last_epoch, 0)
        if now >= total:
            raise InputError("total", str(total), f"more than {now}, the present step")
        self._set([schedule.stretch(now, self.total) for schedule in self.schedules], total)

    def state_dict(self) -> dict[str, Any]:
        """Plain data: the schedules' texts, the step, the total, the base learning rates, and those that the groups have now."""
        return {
            "schedules": [repr(schedule) for schedule in self.schedules],
            "total": self.total,
            "last_epoch": self.last_epoch,
            "base_lrs": list(self.base_lrs),
            "lrs": [float(group["lr"]) for group in self.optimizer.param_groups],
            "steps_taken": self._step_count,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict()`: the optimiser's groups get the very learning rates they had, whichever state is loaded first.

        Raises:
            InputError: not a state of this class, or that of an optimiser with another number of groups.
        """
        try:
            texts, total, at = state_dict["schedules"], state_dict["total"], state_dict["last_epoch"]
            bases, lrs, taken = state_dict["base_lrs"], state_dict["lrs"], state_dict["steps_taken"]
        except (KeyError, TypeError):
            raise InputError("state_dict", repr(state_dict)[:60], "what ScheduledLR.state_dict gave") from None
        if len(lrs) != len(self.optimizer.param_groups):
            raise InputError(
                "state_dict", f"{len(lrs)} groups", f"{len(self.optimizer.param_groups)}, as the optimiser has"
            )
        self._set([parse(text) for text in texts], _whole_total(total))
        self.last_epoch, self.base_lrs, self._step_count = at, list(bases), taken
        _part(self.optimizer.param_groups)
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            _put(group, lr)
        self._last_lr = [_copied(group["lr"]) for group in self.optimizer.param_groups]

    def _set(self, schedules: list[Schedule], total: int) -> None:
        self.schedules, self.total = schedules, total
        self._block, self._known = -1, [[schedule(0, total) for schedule in schedules]]

    def _factors(self, step: int) -> list[float]:
        """The factor of each schedule at `step`. Blocks begin at fixed steps, so that a resumed run sees the same numbers."""
        block, place = divmod(step, BLOCK)
        if block != self._block:
            steps = np.arange(block * BLOCK, min((block + 1) * BLOCK, self.total + 1), dtype=np.float64)
            self._block, self._known = block, np.stack([s(steps, self.total) for s in self.schedules], axis=1).tolist()
        return self._known[place]

    def _check(self, step: int) -> None:
        if not (isinstance(step, int | np.integer) and 0 <= step <= self.total):
            expected = f"at most {self.total}, the length of the run" if step > self.total else "a whole number >= 0"
            raise InputError("step", str(step), expected)

    def _adopt(self) -> None:
        """Base learning rates for groups that were added to the optimiser since."""
        _part(self.optimizer.param_groups)
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            group.setdefault("initial_lr", _copied(group["lr"]))
            self.base_lrs.append(float(group["initial_lr"]))


def lambda_lr(schedule: Spec, total: int) -> Callable[[int], float]:
    """The factor as a function of the step, for `torch.optim.lr_scheduler.LambdaLR`; can be pickled.

    Raises:
        InputError: no such schedule or total.
    """
    found = parse(schedule) if isinstance(schedule, str) else schedule
    found(0, total)
    return partial(found, total=total)


def _schedules(given: Spec | Sequence[Spec], groups: int) -> list[Schedule]:
    """One schedule, or as many as there are groups."""
    specs = [given] if isinstance(given, str | Schedule) else list(given)
    if len(specs) not in (1, groups) or not all(isinstance(spec, str | Schedule) for spec in specs):
        raise InputError("schedule", f"{len(specs)} of them", f"one, or {groups}: one for each parameter group")
    return [parse(spec) if isinstance(spec, str) else spec for spec in specs]


def _whole_total(total: int) -> int:
    check_total(total)
    if total != int(total):
        raise InputError("total", repr(total), "a whole number of steps > 0")
    return int(total)


def _part(groups: list[dict[str, Any]]) -> None:
    """A tensor of its own for every group whose learning rate is a tensor that an earlier group has too."""
    seen: set[int] = set()
    for group in groups:
        if isinstance(group["lr"], torch.Tensor):
            if id(group["lr"]) in seen:
                group["lr"] = group["lr"].clone()
            seen.add(id(group["lr"]))


def _copied(lr: float | torch.Tensor) -> float | torch.Tensor:
    return lr.clone() if isinstance(lr, torch.Tensor) else lr


def _put(group: dict[str, Any], lr: float) -> None:
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
