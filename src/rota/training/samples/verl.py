"""Sample policies behind verl's curriculum-sampler interface.

verl makes the sampler itself, `Sampler(data_source=dataset, data_config=config)`, iterates it one batch at a time (with
`data.dataloader_num_workers=0`), and calls `update(batch)` with the finished rollouts. verl is not installed where this is
tested: the interface is met by shape, with a stand-in for verl's `DataProto`. In a file that verl's configuration names:

    from verl.experimental.dataset.sampler import AbstractCurriculumSampler
    Sampler = curriculum_sampler(make_policy, base=AbstractCurriculumSampler)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rota.training.samples.policy import SamplePolicy
from rota.training.samples.rows import BatchRows


def curriculum_sampler(
    make: Callable[[Any], SamplePolicy], base: type = object, column: str = "id", scores: str = "token_level_scores"
) -> type:
    """A class with verl's interface over the policy that `make(dataset)` gives; its errors and state are those of `BatchRows`.

    Args:
        make: called with the dataset; its policy's items are named as in the column.
        base: verl's `AbstractCurriculumSampler`, which verl insists on; `object` where verl is absent.
        column: of the dataset and of a batch's `non_tensor_batch`, with the items' names.
        scores: (rollouts, tokens) entry of a batch's `batch`; a rollout's reward is its sum over tokens.
    """

    class CurriculumSampler(BatchRows, base):
        def __init__(self, data_source: Any, data_config: Any) -> None:
            rows = {data_source[row][column]: row for row in range(len(data_source))}
            count = int(data_config["train_batch_size"])
            super().__init__(make(data_source), rows, count, max(1, len(rows) // max(1, count)))

        def update(self, batch: Any) -> None:
            """Credit the rollouts of a batch to the items that they name, in whatever order verl left them."""
            found: dict[str, list[float]] = {}
            names = batch.non_tensor_batch[column]
            rewards = np.asarray(batch.batch[scores], dtype=float).sum(axis=-1)
            for name, reward in zip(names, rewards.tolist(), strict=True):
                found.setdefault(str(name), []).append(reward)
            for name, own in found.items():
                self.policy.observe(name, own)

    return CurriculumSampler
