"""The clockwork of a fleet: arrivals, decisions and moves between the instants at which an engine needs one.

The engines themselves run in `kernels/`, from boundary to boundary; this driver goes from decision to decision. It knows
no policy by name: it asks with the views that `sights.py` builds, and applies the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rota.core.errors import InputError, RotaError, UnknownName
from rota.core.events import EventQueue
from rota.core.registry import make
from rota.serving.engines import Engines
from rota.serving.kernels.state import DECODE, DONE, FINISHED, MOVING, NOTIFY, OFF, QUIET, WAITING, WHERE
from rota.serving.model import Fleet, RequestView, Workload
from rota.serving.moves import Moves
from rota.serving.run import Run, collect
from rota.serving.service import Service, check_sizes
from rota.serving.sights import Sights
from rota.serving.views import Dispatcher, LocalOrder, Preemption, Rescheduler, Scaler

DEFAULTS: Mapping[str, Any] = {
    "dispatch": "round-robin",
    "reschedule": "none",
    "scale": "fixed",
    "order": "fcfs",
    "preempt": "recompute",
    "lengths": None,
}
"""The policies in force where none is named, by kind of decision."""

INTERFACES: Mapping[str, type] = {
    "dispatch": Dispatcher,
    "reschedule": Rescheduler,
    "scale": Scaler,
    "order": LocalOrder,
    "preempt": Preemption,
}
"""What a policy of each kind must be able to answer."""

AHEAD = 256
"""Requests whose views are prepared at a time."""

LOAD_POINTS = 240
"""Points of the load curves, at least, for a run that lasts as long as its arrivals."""


def simulate(
    fleet: Fleet, workload: Workload, policies: Mapping[str, Any] | None = None, seed: int = 0,
    observe: Callable[[str, tuple[Any, ...], Any], None] | None = None,
) -> Run:  # fmt: skip
    """Run a workload over a fleet under the given policies.

    Args:
        fleet: the instances.
        workload: the requests.
        policies: kind of decision -> spec string, class or object; kinds are the keys of `DEFAULTS`.
        seed: root seed of whatever in the run is random: policies that take a `seed`, the training of a length predictor.
        observe: called as `observe(kind, (views...), answer)` at every decision; a `DecisionLog` does this.

    Returns:
        the `Run`: per-request results, metrics, timeline, load over time.

    Raises:
        UnknownName: a kind of decision or a policy that does not exist.
        InputError: a request that no instance could ever hold, or a fleet without an instance for a model.
    """
    return Simulation(fleet, workload, chosen(policies, seed, workload), observe).run()


def chosen(policies: Mapping[str, Any] | None, seed: int, workload: Workload) -> dict[str, Any]:
    """Fresh policy objects for a run, defaults filled in; a length predictor is trained on its history."""
    for kind in policies or {}:
        if kind not in DEFAULTS:
            raise UnknownName("policies", kind, DEFAULTS)
    named = {kind: spec for kind, spec in (policies or {}).items() if spec is not None}
    specs = {**DEFAULTS, **named}
    made = {kind: make(f"serving.{kind}", spec, seed) for kind, spec in specs.items() if spec is not None}
    for kind, interface in INTERFACES.items():
        if not isinstance(made[kind], interface):
            raise InputError(f"policies: {kind}", repr(made[kind]), f"the name or an object of a {interface.__name__}")
    if "lengths" in made:
        made["lengths"].prepare(workload, seed)
    return made


@dataclass(slots=True, eq=False)
class Tick:
    """Something to do every `interval` seconds for as long as requests are left."""

    interval: float
    action: Callable[[float], None]


class Simulation:
    """One run in progress. `policies` holds an object for each key of `DEFAULTS` (`lengths` may be absent)."""

    def __init__(
        self, fleet: Fleet, workload: Workload, policies: Mapping[str, Any],
        observe: Callable[[str, tuple[Any, ...], Any], None] | None = None,
    ) -> None:  # fmt: skip
        self.fleet, self.workload, self.policies, self.observe = fleet, workload, policies, observe
        self.dispatcher, self.rescheduler, self.scaler = policies["dispatch"], policies["reschedule"], policies["scale"]
        self.order = policies["order"]
        check_sizes(fleet, workload)
        self.engines = Engines(fleet, workload)
        self.engines.settle(self.rescheduler.after_prefill, self.order.dynamic, policies["preempt"].mechanism == "swap")
        self.events: EventQueue[Any] = EventQueue()
        self.moves = Moves(fleet.kinds, self.events, self.engines, np.zeros(len(fleet), bool), self._resettle)
        self.service = Service(fleet, workload, self.engines)
        self.sights = Sights(fleet, workload, self.engines, self.service, self.moves.busy, policies.get("lengths"))
        self.prepared: dict[int, RequestView] = {}
        self.unsettled: dict[int, None] = {}
        waits = workload.predecessors()
        self.missing = {row: len(earlier) for row, earlier in waits.items()}
        self.children = _turned(waits)
        self.load: list[tuple[float, ...]] = []
        self.now = 0.0

    def run(self) -> Run:
        """To the end of the last request."""
        own = np.flatnonzero(self.workload.parent < 0)
        arrivals, position = self.workload.arrival[own].tolist(), 0
        self._start_ticks()
        while True:
            coming = arrivals[position] if position < len(arrivals) else np.inf
            due = self.events.peek()
            instant = min(coming, due.time if due else np.inf)
            if not self._advance(instant):
                continue
            if instant == np.inf:
                break
            self.now = instant
            if coming <= instant:
                if position % AHEAD == 0:
                    self._prepare(own[position : position + AHEAD].tolist())
                self._arrive(int(own[position]), instant)
                position += 1
            else:
                action, subject = self.events.pop().item
                action(subject, instant)
        return self._close()

    # -- engines

    def _advance(self, until: float) -> bool:
        """Let the engines run up to `until`; False if something came up before, and was dealt with."""
        reason = self.sights.advance(until)
        if reason == QUIET:
            return True
        if reason == NOTIFY:
            self._news()
        else:
            self._rank_queue(int(self.engines.totals[WHERE]))
        return False

    def _news(self) -> None:
        """Requests of an instance ended, got their first token, or left the batch to move."""
        i, requests = self.engines.news()
        now = self.now = float(self.engines.inst[i]["start"])
        for request in requests:
            q = self.engines.req[request]
            state = q["state"]
            if request in self.moves.under_way and (state == MOVING or (state == DONE and q["leaving"])):
                self.moves.left_batch(request, now)
            if state == DONE:
                self._release(request, now)
            elif state == DECODE:
                self._settle(request, i, now)

    def _release(self, request: int, now: float) -> None:
        """A request ended: what waited for it, and for nothing else any more, arrives after its think time."""
        for child in self.children.get(request, ()):
            self.missing[child] -= 1
            if self.missing[child]:
                continue
            at = now + float(self.workload.think[child])
            self.engines.req[child]["arrival"] = at
            self.events.push(at, (self._arrive, child))

    # -- decisions

    def _ask(self, kind: str, method: Callable[..., Any], *views: Any) -> Any:
        answer = method(*views)
        if self.observe is not None:
            self.observe(f"{kind}.{method.__name__}", views, answer)
        return answer

    def _arrive(self, request: int, now: float) -> None:
        """Dispatch a request, new or taken back from a draining instance."""
        view = self.prepared.pop(request, None) or self._prepare([request])[0]
        fleet = self.sights.look(now, view.model)
        i = int(self._ask("dispatch", self.dispatcher.choose, view, fleet))
        if not (0 <= i < len(self.fleet) and fleet.accepting[i]):
            raise InputError("dispatch policy's answer", str(i), "the index of an accepting instance")
        self.engines.enqueue(i, request, now)
        self.sights.sent(i, view)

    def _settle(self, request: int, i: int, now: float) -> None:
        """Ask where a request that has its first token goes from instance i; later again while a move is in the way."""
        busy = self.moves.busy
        target = None
        if not busy[i]:
            target = self._ask(
                "reschedule", self.rescheduler.target, self.sights.request(request), i, self.sights.look(now)
            )
        if busy[i] or (target is not None and busy[target]):
            self.unsettled[request] = None
        elif target is not None:
            self._move(request, i, int(target), now)

    def _resettle(self, now: float) -> None:
        """A move has ended: ask again for the requests that it kept where they are."""
        self.sights.fresh = False
        waiting, self.unsettled = list(self.unsettled), {}
        for request in waiting:
            if self.engines.req[request]["state"] == DECODE:
                self._settle(request, int(self.engines.req[request]["instance"]), now)

    def _reschedule(self, now: float) -> None:
        fleet = self.sights.look(now)
        for source, target in self._ask("reschedule", self.rescheduler.pairs, fleet):
            if self.moves.busy[source] or self.moves.busy[target] or fleet.running[source] == 0:
                continue
            victim = self._ask("reschedule", self.rescheduler.victim, self.sights.batch(source, now))
            if victim is not None:
                self._move(int(victim), int(source), int(target), now)

    def _move(self, request: int, source: int, target: int, now: float) -> None:
        """Begin a migration, unless the target has been switched off or is of another model: its KV would mean nothing there."""
        kinds = self.fleet.kinds
        if self.service.active[target] and kinds[source].model == kinds[target].model:
            self.moves.start(request, source, target, now)

    def _rank_queue(self, i: int) -> None:
        """Give a queue whose order changes with time its present order, and let the engine plan."""
        now, req = float(self.engines.inst[i]["start"]), self.engines.req
        ids = self.engines.queue(i)
        ready = req["state"][ids] != WAITING
        waiting = ids[~ready]
        if len(waiting):
            ranks = np.asarray(self._ask("order", self.order.rank, self.sights.queue(i, waiting, now)))
            req["rank"][waiting] = ranks
            waiting = waiting[np.lexsort((req["arrival"][waiting], ranks))]
        self.engines.reorder(i, np.concatenate([ids[ready], waiting]))
        self.engines.plan(i)

    def _prepare(self, ids: Sequence[int]) -> list[RequestView]:
        """Views and static ranks of requests about to arrive."""
        sight = self.sights.coming(ids, self.now)
        if not self.order.dynamic:
            self.engines.req["rank"][np.asarray(ids)] = self._ask("order", self.order.rank, sight)
        self.prepared.update((view.id, view) for view in sight.requests)
        return list(sight.requests)

    def _scale(self, now: float) -> None:
        self.service.stop_empty(self.moves.busy)
        change = int(self._ask("scale", self.scaler.change, self.sights.look(now)))
        if change > 0:
            for i in self.service.startable()[: max(change - self.service.starting(), 0)]:
                self.events.push(self.service.start(i, now), (self.service.serve, i))
        for i in np.flatnonzero(self.service.accepting)[::-1].tolist():
            if change < 0 and self.service.spare(i):
                for request in self.service.drain(i, now):
                    self._arrive(request, now)
                change += 1

    # -- ticks

    def _start_ticks(self) -> None:
        spread = self.workload.duration / LOAD_POINTS
        self.sampling = Tick(spread if spread > 0 else 0.01, self._sample)
        self._again(self.sampling, 0.0)
        for policy, action in ((self.rescheduler, self._reschedule), (self.scaler, self._scale)):
            if policy.interval is not None:
                self._again(Tick(policy.interval, action), 0.0)

    def _again(self, tick: Tick, now: float) -> None:
        if not tick.interval > 0:
            raise InputError("a policy's interval", f"{tick.interval:g}", "a number of seconds > 0, or None")
        self.events.push(now + tick.interval, (self._tick_due, tick))

    def _tick_due(self, tick: Tick, now: float) -> None:
        if self.engines.totals[FINISHED] < len(self.workload):
            tick.action(now)
            self._again(tick, now)

    def _sample(self, now: float) -> None:
        """One point of the load curves, from the true state; when there are many, every second one goes."""
        state, total = self.engines.report(now), self.engines.inst["total"]
        on = self.engines.inst["on"] != OFF
        used = (total - state["free"])[on].sum() / max(total[on].sum(), 1)
        waiting = (state["waiting"] + state["sent"])[on].sum()
        self.load.append((now, float(state["running"][on].sum()), float(waiting), float(used), float(on.sum())))
        if len(self.load) > 2 * LOAD_POINTS:
            del self.load[::2]
            self.sampling.interval *= 2

    # -- start and end

    def _close(self) -> Run:
        req = self.engines.req
        lost = np.flatnonzero(req["state"] != DONE)
        if len(lost):
            raise RotaError(f"request {lost[0]} never ended: instance {req[lost[0]]['instance']} cannot make progress")
        self.service.stop_empty(self.moves.busy)
        self.service.stop_all(float(req["finish"].max(initial=0.0)))
        return collect(self)


def _turned(waits: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Who waits for each request, from what each waits for."""
    found: dict[int, list[int]] = {}
    for row, earlier in waits.items():
        for each in earlier:
            found.setdefault(each, []).append(row)
    return found
