"""Block groups: FastSwitch's dynamic block group manager (arXiv 2411.18424)."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.swapping import Mechanism


@policy("serving.swap", "block-groups", paper="fastswitch")
class BlockGroups:
    """KV in large contiguous groups, one copy call a group; the engine waits.

    Args:
        group: blocks of a new group (60 hold about 1,000 tokens).
    """

    def __init__(self, group: int = 60) -> None:
        self.group = group
        self.mechanism = Mechanism("groups", coalesce=True, group=group)
