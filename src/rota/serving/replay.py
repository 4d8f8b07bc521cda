"""The decision log: every view that policies saw in a run, and what they answered; fed back to a policy by `replay`.

log = DecisionLog()
simulate(fleet, workload, policies, observe=log)
log.save("decisions.jsonl")
different = [pair for pair in replay(log, "dispatch", "freeness(target_load=800)") if pair[0] != pair[1]]
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from rota.core.atomic import atomic_write
from rota.core.errors import InputError
from rota.core.registry import make
from rota.serving.instance_file import instance_of
from rota.serving.lengths import LengthDistribution
from rota.serving.model import Instance, RequestView
from rota.serving.views import BatchView, FleetView, QueueView

Plain = Any
"""Numbers, texts, lists and dicts."""

T = TypeVar("T")

VIEWS: Mapping[str, type] = {
    kind.__name__: kind for kind in (FleetView, BatchView, QueueView, RequestView, LengthDistribution)
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: `kind` is `dispatch.choose`, say; `views` and `answer` as plain data."""

    kind: str
    views: list[Plain]
    answer: Plain


@dataclass(frozen=True, slots=True)
class _Head:
    instances: list[dict[str, Any]]


class DecisionLog:
    """Takes down every decision of a run; give it to `simulate(..., observe=log)`.

    Attributes:
        kinds: the instances of the fleet.
        decisions: in the order they were made.
    """

    def __init__(self) -> None:
        self.kinds: list[Instance] = []
        self.decisions: list[Decision] = []

    def __len__(self) -> int:
        return len(self.decisions)

    def __call__(self, kind: str, views: tuple[Any, ...], answer: Any) -> None:
        """Record one decision; the views' arrays are copied."""
        request = next((view for view in views if isinstance(view, RequestView)), None)
        self.decisions.append(Decision(kind, [self._plain(view, request) for view in views], self._plain(answer)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the log as lines of JSON: the instances, then one decision a line."""
        lines = [_Head([asdict(kind) for kind in self.kinds]), *self.decisions]
        with atomic_write(path) as file:
            file.write(msgspec.json.Encoder().encode_lines(lines))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DecisionLog:
        """A log from a file.

        Raises:
            InputError: there is no such file, or a line of it is not what `save` writes.
        """
        try:
            lines = Path(path).read_bytes().splitlines() or [b""]
        except OSError as error:
            raise InputError(str(path), (error.strerror or str(error)).lower(), "a decision log") from None
        log = cls()
        head = _decoded(lines[0], _Head, f"{path}:1")
        log.kinds = [instance_of(table, f"{path}:1") for table in head.instances]
        log.decisions = [_decoded(line, Decision, f"{path}:{k}") for k, line in enumerate(lines[1:], 2)]
        return log

    def _plain(self, value: Any, request: RequestView | None = None) -> Plain:
        """`value` as data that JSON can hold."""
        if isinstance(value, np.ndarray):
            return {"array": value.dtype.str, "values": value.tolist()}
        if isinstance(value, np.generic):
            return value.item()
        if type(value).__name__ in VIEWS:
            return self._plain_view(value, request)
        if isinstance(value, list | tuple):
            return [self._plain(each) for each in value]
        return value

    def _plain_view(self, view: Any, request: RequestView | None) -> Plain:
        table: dict[str, Plain] = {"view": type(view).__name__}
        for name in type(view).__match_args__:
            value = getattr(view, name)
            if name == "kinds":
                self.kinds = self.kinds or list(value)
            elif name == "cached" and callable(value):
                table["cached"] = self._plain(value(request)) if request is not None else None
            else:
                table[name] = self._plain(value)
        return table


def replay(log: DecisionLog, kind: str, policy: Any) -> list[tuple[Plain, Plain]]:
    """Feed a log's views to a policy, in order.

    Args:
        log: what was recorded.
        kind: `dispatch`, `reschedule`, `scale`, `order` or `preempt`.
        policy: spec string, class or fresh object, as for `simulate`; give one that draws the `seed` it had in the run.

    Returns:
        (recorded, answered) for every decision of that kind, as plain data that compares with ==.
    """
    made = make(f"serving.{kind}", policy)
    pairs = []
    for decision in log.decisions:
        where, _, method = decision.kind.partition(".")
        if where == kind:
            views = [_view(each, log.kinds) for each in decision.views]
            pairs.append((decision.answer, log._plain(getattr(made, method)(*views))))
    return pairs


def _decoded(line: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(where, f"what does not fit: {error}", "a line of a decision log") from None


def _view(value: Plain, kinds: list[Instance]) -> Any:
    """The view that plain data stands for."""
    if isinstance(value, list):
        return tuple(_view(each, kinds) for each in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = np.array(value["values"], dtype=value["array"])
        array.flags.writeable = False
        return array
    table = {name: _view(each, kinds) for name, each in value.items() if name != "view"}
    if value["view"] == "FleetView":
        table |= {"kinds": kinds, "cached": partial(_recorded, table["cached"])}
    return VIEWS[value["view"]](**table)


def _recorded(cached: np.ndarray | None, request: RequestView) -> np.ndarray:
    """What the caches held of the request that was asked about."""
    if cached is None:
        raise InputError("decision log", "no cached tokens", "a decision about one request")
    return cached
