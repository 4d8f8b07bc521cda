"""A fitted workload: the numbers of a trace from which more of it can be made. Some public traces come with the
package."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rota.core.atomic import atomic_write
from rota.core.errors import InputError, UnknownName
from rota.core.seeds import stream
from rota.serving.model import Workload
from rota.serving.workloads.joint import JointLaw
from rota.serving.workloads.merge import merge
from rota.serving.workloads.processes import Process
from rota.serving.workloads.reuse import PrefixReuse
from rota.serving.workloads.sessions import conversations


class Class(msgspec.Struct, frozen=True):
    """Requests of one tenant, model and priority: their share of all, and their lengths."""

    share: float
    tenant: str
    model: str
    priority: int
    lengths: JointLaw


class SessionLaw(msgspec.Struct, frozen=True):
    """Conversations in which a turn waits for the answer before it.

    Attributes:
        turns: mean turns a conversation; drawn geometric.
        think, think_cv: seconds between an answer and the next turn, Gamma.
        first, later: new text and answer of a first and of a later turn.
        max_context: tokens that no conversation outgrows.
        prefix_chunk: tokens that a prefix hash covers.
    """

    turns: float
    think: float
    think_cv: float
    first: JointLaw
    later: JointLaw
    max_context: int
    prefix_chunk: int


class FittedWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers fitted to a trace by `fit`; `generate` makes requests from them.

    Attributes:
        name: of the trace; `source` and `licence` say where it comes from.
        requests, duration: size of the trace: requests, seconds.
        arrivals: the arrival process, of requests or, with `sessions`, of conversations.
        classes: tenants, models and priorities with their lengths.
        prefixes: prefix reuse across requests, or None.
        sessions: turns that wait for answers, or None.
        parts: streams that were fitted each for itself (conversations beside single requests, or of several tenants); where
            there are any, the whole is their superposition.
    """

    name: str
    source: str
    licence: str
    requests: int
    duration: float
    arrivals: Process
    classes: tuple[Class, ...]
    prefixes: PrefixReuse | None = None
    sessions: SessionLaw | None = None
    parts: tuple[FittedWorkload, ...] = ()

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.duration

    def generate(
        self, n: int | None = None, *, duration: float | None = None, rate: float | None = None, seed: int = 0
    ) -> Workload:
        """More of the trace.

        Args:
            n: requests (with sessions, about as many); as many as the trace has, if neither `n` nor `duration` is
                given.
            duration: seconds to fill instead; a profile longer than its trace begins again.
            rate: requests a second, by stretching time; None: that of the trace.
            seed: root seed.

        Raises:
            InputError: a number out of range.
        """
        for name, value in (("n", n), ("duration", duration), ("rate", rate)):
            if value is not None and not value > 0:
                raise InputError(name, f"{value}", "a number > 0")
        stretch = 1.0 if rate is None else self.rate / rate
        wanted = n or (self.requests if duration is None else int(1.5 * duration / stretch * self.rate) + 100)
        made = self._make(wanted, seed)
        made = replace(made, arrival=made.arrival * stretch, name=self.name)
        return made if duration is None else made.take(made.arrival < duration)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the numbers as JSON, six digits each."""
        with atomic_write(path) as file:
            file.write(msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(self))), indent=0) + b"\n")

    def _make(self, n: int, seed: int) -> Workload:
        if self.parts:
            whole = sum(part.requests for part in self.parts)
            return merge([p._make(max(round(n * p.requests / whole), 1), seed + k) for k, p in enumerate(self.parts)])
        return self._requests(n, seed) if self.sessions is None else self._conversations(n, seed, self.sessions)

    def _requests(self, n: int, seed: int) -> Workload:
        arrival = self.arrivals.sample(stream(seed, self.name, "arrival"), n)
        share = np.array([c.share for c in self.classes])
        which = stream(seed, self.name, "class").choice(len(share), n, p=share / share.sum())
        prompt, output = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        for k, c in enumerate(self.classes):
            rows = which == k
            prompt[rows], output[rows] = c.lengths.sample(stream(seed, self.name, "lengths", k), int(rows.sum()))
        columns: dict[str, Any] = {}
        if self.prefixes is not None:
            start, hashes = self.prefixes.sample(stream(seed, self.name, "prefix"), arrival, prompt)
            columns = {"prefix_start": start, "prefix_hash": hashes, "prefix_chunk": self.prefixes.chunk}
        tenants, models = sorted({c.tenant for c in self.classes}), sorted({c.model for c in self.classes})
        return Workload.of(
            arrival, prompt, output, tenants=tuple(tenants), models=tuple(models),
            tenant=np.array([tenants.index(c.tenant) for c in self.classes])[which],
            model=np.array([models.index(c.model) for c in self.classes])[which],
            priority=np.array([c.priority for c in self.classes])[which], **columns,
        )  # fmt: skip

    def _conversations(self, n: int, seed: int, law: SessionLaw) -> Workload:
        number = max(1, round(n / law.turns))
        begun = self.arrivals.sample(stream(seed, self.name, "arrival"), number)
        count = stream(seed, self.name, "turns").geometric(1 / law.turns, number)
        total = int(count.sum())
        lead = np.zeros(total, dtype=bool)
        lead[np.cumsum(count) - count] = True
        text, answer = law.later.sample(stream(seed, self.name, "later"), total)
        text[lead], answer[lead] = law.first.sample(stream(seed, self.name, "first"), number)
        shape = 1 / max(law.think_cv, 1e-3) ** 2
        pause = stream(seed, self.name, "think").gamma(shape, law.think / shape, total)
        made = conversations(
            begun, count, text, answer, pause, max_context=law.max_context, prefix_chunk=law.prefix_chunk
        )
        kind = self.classes[0]
        priority = np.full(len(made), kind.priority)
        return replace(made, tenants=(kind.tenant,), models=(kind.model,), priority=priority)


def shipped() -> list[str]:
    """Fitted models of public traces that come with the package."""
    return sorted(item.name.removesuffix(".json") for item in _folder().iterdir() if item.name.endswith(".json"))


def load(name: str | PathLike[str]) -> FittedWorkload:
    """A fitted workload that comes with the package, by name, or one that `save` wrote, by path.

    Raises:
        UnknownName: nothing of that name.
        InputError: a file that holds no fitted workload.
    """
    file = Path(name) if Path(name).is_file() else _folder() / f"{name}.json"
    if not file.is_file():
        raise UnknownName("fitted workload", str(name), shipped())
    try:
        return msgspec.json.decode(file.read_bytes(), type=FittedWorkload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(str(name), f"no fitted workload ({error})", "a file that `rota workload fit` wrote") from None


def _folder() -> Traversable:
    return files("rota.serving.workloads") / "models"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
