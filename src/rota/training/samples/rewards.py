"""Average-reward learning: every variant of a group is rewarded with the mean of the group (We-Math 2.0, pre-aligned RL)."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from rota.core.errors import InputError

RewardFunction = Callable[..., Sequence[float | None]]


def group_mean_reward(rewards: Sequence[float | None], keys: Sequence[Hashable]) -> list[float | None]:
    """(n,) the mean reward of all entries that share an entry's key; entries without a reward (None) keep none and count for
    none.

    Raises:
        InputError: not one key for each reward.
    """
    if len(rewards) != len(keys):
        raise InputError("keys", f"{len(keys)} for {len(rewards)} rewards", "one for each")
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for reward, key in zip(rewards, keys, strict=True):
        if reward is not None:
            groups[key].append(reward)
    means = {key: sum(sorted(found)) / len(found) for key, found in groups.items()}
    return [None if reward is None else means[key] for reward, key in zip(rewards, keys, strict=True)]


def averaged(function: RewardFunction, column: str) -> Callable[..., list[float | None]]:
    """A TRL reward function that pays each completion the mean over the batch of those with its value in a dataset column.

    With several processes, TRL calls it with the completions of one process, and the mean is over those.

    Raises:
        InputError: (when called) the dataset has no such column.
    """

    @functools.wraps(function)
    def rewarded(*args: Any, **columns: Any) -> list[float | None]:
        if column not in columns:
            raise InputError("averaged", f"no dataset column {column!r}", f"one of {', '.join(sorted(columns))}")
        return group_mean_reward(function(*args, **columns), columns[column])

    return rewarded
