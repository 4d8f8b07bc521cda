"""Schedules in Keras, with any of its backends: `keras.optimizers.SGD(ScheduledLR("warmup(0.05) >> rex()", total=10_000, base=0.1))`."""

from __future__ import annotations

from typing import Any

from rota.core.errors import optional
from rota.training.adapters.optax import rates_of
from rota.training.schedule import Schedule
from rota.training.spelling import schedule as parse

optional("keras")
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="rota")
class ScheduledLR(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of step t: base x schedule(t, total), from a table of float32 numbers, so that it also runs compiled.

    Steps past the end get the learning rate of the end: Keras calls a schedule from compiled code, which cannot raise.

    Args:
        schedule: a schedule or its text.
        total: steps of the run.
        base: the learning rate that the factors multiply.

    Raises:
        InputError: no such schedule or total.
    """

    def __init__(self, schedule: Schedule | str, total: int, base: float = 1.0) -> None:
        super().__init__()
        self.schedule = parse(schedule) if isinstance(schedule, str) else schedule
        self.total, self.base = total, base
        self._rates = rates_of(self.schedule, total, base)

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step`, a number or a tensor of the backend."""
        at = keras.ops.clip(keras.ops.cast(step, "int32"), 0, self.total)
        return keras.ops.take(keras.ops.convert_to_tensor(self._rates), at)

    def get_config(self) -> dict[str, Any]:
        """Plain data, from which `from_config` makes an equal one."""
        return {"schedule": repr(self.schedule), "total": self.total, "base": self.base}
