"""Schedules in timm: a scheduler for its training loops, `ScheduledLR(optimizer, "warmup(5) >> rex()", total=num_epochs)`."""

from __future__ import annotations

from typing import Any

from rota.core.errors import optional
from rota.training.schedule import Schedule
from rota.training.spelling import schedule as parse

optional("timm")
from timm.scheduler.scheduler import Scheduler  # noqa: E402


class ScheduledLR(Scheduler):
    """Learning rates of epoch or update t: base x schedule(t, total). timm's loops may ask past the end; it then stays at the end.

    Args:
        optimizer: whose learning rates are the base ones.
        schedule: a schedule or its text.
        total: epochs of the run, or updates.
        t_in_epochs: whether it is epochs that are counted (`step`), not updates (`step_update`).

    Raises:
        InputError: no such schedule or total.
    """

    def __init__(self, optimizer: Any, schedule: Schedule | str, total: int, t_in_epochs: bool = True) -> None:
        self.schedule = parse(schedule) if isinstance(schedule, str) else schedule
        self.total = total
        first = self.schedule(0, total)
        super().__init__(optimizer, param_group_field="lr", t_in_epochs=t_in_epochs)
        self.update_groups([base * first for base in self.base_values])

    def _get_lr(self, t: int) -> list[float]:
        factor = self.schedule(min(t, self.total), self.total)
        return [base * factor for base in self.base_values]

    def state_dict(self) -> dict[str, Any]:
        """Plain data: the schedule's text, the total and the base learning rates."""
        return {"schedule": repr(self.schedule), "total": self.total, "base_values": list(self.base_values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict()`; the loop tells the step."""
        self.schedule, self.total = parse(state_dict["schedule"]), state_dict["total"]
        self.base_values = list(state_dict["base_values"])
