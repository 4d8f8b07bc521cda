"""Sample policies behind verl's curriculum-sampler interface.

verl makes the sampler itself, `Sampler(data_source=dataset, data_config=config)`, iterates it one batch at a time (with
`data.dataloader_num_workers=0`), and calls `update(batch)` with the finished rollouts. verl is not installed where this is
tested: the interface is met by shape, with a stand-in for verl's `DataProto`. In a file that verl's configuration names:

    from verl.experimental.dataset.sampler import AbstractCurriculumSampler
    Sampler = curriculum_sampler(make_policy, base=AbstractCurriculumSampler)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rota.core.errors import InputError
from rota.training.samples.policy import SamplePolicy, State


def curriculum_sampler(
    make: Callable[[Any], SamplePolicy], base: type = object, column: str = "id", scores: str = "token_level_scores"
) -> type:
    """A class with verl's interface over the policy that `make(dataset)` gives.

    Args:
        make: called with the dataset; its policy's items are named as in the column.
        base: verl's `AbstractCurriculumSampler`, which verl insists on; `object` where verl is absent.
        column: of the dataset and of a batch's `non_tensor_batch`, with the items' names.
        scores: (rollouts, tokens) entry of a batch's `batch`; a rollout's reward is its sum over tokens.
    """

    class CurriculumSampler(base):
        def __init__(self, data_source: Any, data_config: Any) -> None:
            self.policy = make(data_source)
            self.count = int(data_config["train_batch_size"])
            names = [data_source[row][column] for row in range(len(data_source))]
            self.rows = {name: row for row, name in enumerate(names)}
            missing = next((name for name in self.policy.items if name not in self.rows), None)
            if missing is not None:
                raise InputError("dataset", f"no row for {missing!r}", "a row for every item of the policy")
            self._again: list[list[str]] = []

        def __len__(self) -> int:
            return max(1, len(self.rows) // self.count) * self.count

        def __iter__(self) -> Iterator[int]:
            for _ in range(len(self) // self.count):
                batch = self._again.pop(0) if self._again else self.policy.next(self.count)
                yield from (self.rows[name] for name in batch)

        def update(self, batch: Any) -> None:
            """Credit the rollouts of a batch to the items that they name, in whatever order verl left them."""
            found: dict[str, list[float]] = {}
            names = batch.non_tensor_batch[column]
            rewards = np.asarray(batch.batch[scores], dtype=float).sum(axis=-1)
            for name, reward in zip(names, rewards.tolist(), strict=True):
                found.setdefault(str(name), []).append(reward)
            for name, own in found.items():
                self.policy.observe(name, own)

        def state_dict(self) -> State:
            """The policy's state, for a stateful loader's checkpoint."""
            return self.policy.state_dict()

        def load_state_dict(self, state: State) -> None:
            """Go on from there; batches that were open come again."""
            self.policy.load_state_dict(state)
            self._again = list(getattr(self.policy, "open_batches", []))

    return CurriculumSampler
