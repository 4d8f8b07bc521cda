"""Which instances of a fleet serve, and since when each is paid for."""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError
from rota.serving.engines import Engines
from rota.serving.kernels.state import DRAINING, OFF, SERVING, WAITING
from rota.serving.model import BLOCK, Fleet, Workload


class Service:
    """Instances that start, serve, drain and stop.

    Attributes:
        accepting, active: (n,) takes new requests; serves or drains.
        masks: for each model of the workload, (n,) the instances that take its requests now.
        intervals: (instance, from, to) while each was paid for.
        open: instance -> since when it is being paid for.
    """

    def __init__(self, fleet: Fleet, workload: Workload, engines: Engines) -> None:
        self.engines, self.startup = engines, fleet.startup
        self.accepting = engines.inst["on"] == SERVING
        self.active = self.accepting.copy()
        self.serves = served(fleet, workload)
        for model, serves in zip(workload.models, self.serves, strict=True):
            if not (serves & self.accepting).any():
                raise InputError(
                    f"fleet {fleet.name}: initial", str(fleet.initial), f"an instance of {model!r} among the first"
                )
        self.masks = [serves & self.accepting for serves in self.serves]
        self.intervals: list[tuple[int, float, float]] = []
        self.open: dict[int, float] = {int(i): 0.0 for i in np.flatnonzero(self.accepting)}

    def startable(self) -> list[int]:
        """Instances that could serve again, those that still drain first, without what is starting already."""
        on = self.engines.inst["on"]
        off = [int(i) for i in np.flatnonzero(on == OFF) if i not in self.open]
        return np.flatnonzero(on == DRAINING).tolist() + off

    def starting(self) -> int:
        """How many are paid for and do not serve yet."""
        return len(self.open) - int(self.active.sum())

    def start(self, i: int, now: float) -> float:
        """Pay for instance i from now on, if it was not; returns when it will serve."""
        if i in self.open:
            return now
        self.open[i] = now
        return now + self.startup

    def serve(self, i: int, _now: float) -> None:
        """Instance i takes requests."""
        self.engines.inst[i]["on"] = SERVING
        self.active[i] = True
        self._accept(i, True)

    def spare(self, i: int) -> bool:
        """Whether every model keeps an accepting instance without instance i."""
        others = self.accepting & (np.arange(len(self.accepting)) != i)
        return all((serves & others).any() for serves in self.serves)

    def drain(self, i: int, now: float) -> list[int]:
        """No new requests for instance i; returns those that waited there, taken back, to be dispatched again."""
        self.engines.inst[i]["on"] = DRAINING
        self._accept(i, False)
        ids = self.engines.queue(i)
        waiting: list[int] = ids[self.engines.req["state"][ids] == WAITING].tolist()
        for request in waiting:
            self.engines.withdraw(request, now)
        return waiting

    def stop_empty(self, busy: np.ndarray) -> None:
        """Draining instances with nothing left, and no move under way (`busy`), are off, and were since they fell idle."""
        inst = self.engines.inst
        empty = (inst["on"] == DRAINING) & (inst["running"] == 0) & (inst["waiting"] == 0) & ~busy
        for i in np.flatnonzero(empty).tolist():
            inst[i]["on"] = OFF
            self.active[i] = False
            self._stop(i, float(inst[i]["idle_since"]))

    def stop_all(self, now: float) -> None:
        """The end of the run."""
        for i in list(self.open):
            self._stop(i, now)

    def _stop(self, i: int, now: float) -> None:
        since = self.open.pop(i)
        self.intervals.append((i, since, max(now, since)))

    def _accept(self, i: int, accepts: bool) -> None:
        self.accepting[i] = accepts
        for serves, mask in zip(self.serves, self.masks, strict=True):
            mask[i] = accepts and serves[i]


def served(fleet: Fleet, workload: Workload) -> list[np.ndarray]:
    """For each model of the workload, which instances serve it; a workload of the model `default` runs anywhere.

    Raises:
        InputError: no instance serves one of them.
    """
    found = []
    for model in workload.models:
        mask = np.array([model in ("default", kind.model) for kind in fleet.kinds])
        if not mask.any():
            known = ", ".join(sorted({k.model for k in fleet.kinds}))
            raise InputError(f"{workload.name}: model", repr(model), f"one that the fleet serves ({known})")
        found.append(mask)
    return found


def check_sizes(fleet: Fleet, workload: Workload) -> None:
    """Every request must fit, alone, in the smallest instance that may serve it.

    Raises:
        InputError: one does not, or no instance serves its model.
    """
    for code, mask in enumerate(served(fleet, workload)):
        kinds = [kind for kind, serves in zip(fleet.kinds, mask, strict=True) if serves]
        least = min(kinds, key=lambda kind: kind.blocks - kind.watermark_blocks)
        room = (least.blocks - least.watermark_blocks) * BLOCK
        size = workload.prompt + workload.output
        bad = np.flatnonzero((workload.model == code) & (size > room))
        if len(bad):
            where = f"{workload.name}: request {bad[0]}"
            raise InputError(
                where, f"{size[bad[0]]} tokens of prompt and output", f"at most {room}, the KV memory of {least.name}"
            )
