"""The clockwork of a fleet: arrivals, decisions and moves between the instants at which an engine needs one.

The engines themselves run in `kernels/`, from boundary to boundary; this driver goes from decision to decision. It knows
no policy by name: it builds the views of `views.py`, asks, and applies the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rota.core.errors import InputError, RotaError, UnknownName
from rota.core.events import EventQueue
from rota.core.registry import make
from rota.serving.kernels import build, engine, queue, reports
from rota.serving.kernels import fleet as kernel
from rota.serving.kernels.state import (
    CHUNK,
    DECODE,
    DONE,
    DRAINING,
    DYNAMIC,
    FINISHED,
    GROW,
    MOVING,
    NOTIFY,
    NOTIFY_FIRST,
    OFF,
    QUIET,
    REPORT,
    SERVING,
    TRACK_SERVICE,
    WHERE,
    WHO,
)
from rota.serving.model import Fleet, RequestView, Workload, blocks_for
from rota.serving.moves import Moves
from rota.serving.run import Run, collect
from rota.serving.views import (
    BatchView,
    Dispatcher,
    FleetView,
    LocalOrder,
    Preemption,
    QueueView,
    Rescheduler,
    Scaler,
)

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

AHEAD = 8192
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


@dataclass
class Service:
    """When each instance was paid for: (instance, from, to) intervals, and which are still open."""

    intervals: list[tuple[int, float, float]]
    open: dict[int, float]

    def close(self, i: int, now: float) -> None:
        """Instance i is off from `now` on."""
        self.intervals.append((i, self.open.pop(i), now))


class Simulation:
    """One run in progress. `policies` holds an object for each key of `DEFAULTS` (`lengths` may be absent)."""

    def __init__(
        self, fleet: Fleet, workload: Workload, policies: Mapping[str, Any],
        observe: Callable[[str, tuple[Any, ...], Any], None] | None = None,
    ) -> None:  # fmt: skip
        self.fleet, self.workload, self.policies, self.observe = fleet, workload, policies, observe
        self.dispatcher, self.rescheduler, self.scaler = policies["dispatch"], policies["reschedule"], policies["scale"]
        self.order, self.lengths = policies["order"], policies.get("lengths")
        check_sizes(fleet, workload)
        self.s = build.new_state(fleet, workload)
        self._settings()
        n = len(fleet)
        self.events: EventQueue[Any] = EventQueue()
        self.moves = Moves(fleet.kinds, self.events, lambda: self.s, np.zeros(n, bool))
        self.reports = np.zeros(n, REPORT)
        self.reported_at = -np.inf
        self.fresh = False
        self.accepting = self.s.inst["on"] == SERVING
        self.active = self.accepting.copy()
        self.constant = _read_only(self.s.inst["total"].copy()), _read_only(self.s.inst["watermark"].copy())
        self.serves = _serves(fleet, workload)
        for model, serves in zip(workload.models, self.serves, strict=True):
            if not (serves & self.accepting).any():
                raise InputError(
                    f"fleet {fleet.name}: initial", str(fleet.initial), f"an instance of {model!r} among the first"
                )
        self.masks = [serves & self.accepting for serves in self.serves]
        self.sights = [self._sight(mask) for mask in (*self.masks, self.accepting)]
        self.service = Service([], {int(i): 0.0 for i in np.flatnonzero(self.accepting)})
        self.prepared: dict[int, RequestView] = {}
        self.children = _children(workload)
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
        reporting = not self.fleet.report_interval and until < np.inf
        reason = engine.advance(self.s, until, self.reports, reporting)
        if reason == QUIET:
            self.fresh = reporting
            return True
        if reason == GROW:
            self.s = build.larger(self.s)
        elif reason == NOTIFY:
            self._news(int(self.s.totals[WHERE]))
        else:
            self._rank_queue(int(self.s.totals[WHERE]))
        return False

    def _news(self, i: int) -> None:
        """Requests of instance i ended, got their first token, or left the batch to move."""
        now = self.now = float(self.s.inst[i]["start"])
        news = []
        request = int(self.s.totals[WHO])
        while request >= 0:
            news.append(request)
            request = int(self.s.req[request]["next"])
        for request in sorted(news):
            self.s.req[request]["next"] = -1
            state = self.s.req[request]["state"]
            if (
                state in (MOVING, DONE)
                and request in self.moves.under_way
                and (state == MOVING or self.s.req[request]["leaving"])
            ):
                self.moves.left_batch(request, now)
            if state == DONE:
                self._release(request, now)
            elif state == DECODE:
                self._after_prefill(request, i, now)

    def _release(self, request: int, now: float) -> None:
        """A request ended: what waited for it arrives after its think time."""
        for child in self.children.get(request, ()):
            at = now + float(self.workload.think[child])
            self.s.req[child]["arrival"] = at
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
        fleet = self._look(now, view.model)
        i = int(self._ask("dispatch", self.dispatcher.choose, view, fleet))
        if not (0 <= i < len(self.fleet) and fleet.accepting[i]):
            raise InputError("dispatch policy's answer", str(i), "the index of an accepting instance")
        engine.enqueue(self.s, i, request, now)
        if self.fleet.report_interval:
            self.reports["sent"][i] += 1
            self.reports["sent_blocks"][i] += blocks_for(view.prompt)
            self.reports["sent_tokens"][i] += view.prompt

    def _after_prefill(self, request: int, i: int, now: float) -> None:
        view = self._request_view(request)
        target = self._ask("reschedule", self.rescheduler.target, view, i, self._look(now))
        if target is not None:
            self._move(request, i, int(target), now)

    def _reschedule(self, now: float) -> None:
        fleet = self._look(now)
        for source, target in self._ask("reschedule", self.rescheduler.pairs, fleet):
            if self.moves.busy[source] or self.moves.busy[target] or fleet.running[source] == 0:
                continue
            victim = self._ask("reschedule", self.rescheduler.victim, self._batch(source, now))
            if victim is not None:
                self._move(int(victim), int(source), int(target), now)

    def _move(self, request: int, source: int, target: int, now: float) -> None:
        """Begin a migration, unless the target has been switched off or is of another model: its KV would mean nothing there."""
        kinds = self.fleet.kinds
        if self.active[target] and kinds[source].model == kinds[target].model:
            self.moves.start(request, source, target, now)

    def _rank_queue(self, i: int) -> None:
        """Give a queue whose order changes with time its present order, and let the engine plan."""
        now = float(self.s.inst[i]["start"])
        ids = np.empty(int(self.s.inst[i]["waiting"]), np.int64)
        queue.listing(self.s, i, ids)
        ready = self.s.req["state"][ids] != 1
        waiting = ids[~ready]
        if len(waiting):
            ranks = np.asarray(self._ask("order", self.order.rank, self._queue_view(i, waiting, now)))
            self.s.req["rank"][waiting] = ranks
            waiting = waiting[np.lexsort((self.s.req["arrival"][waiting], ranks))]
        queue.rebuild(self.s, i, np.concatenate([ids[ready], waiting]))
        engine.plan(self.s, i)

    def _scale(self, now: float) -> None:
        self._switch_off_empty()
        change = int(self._ask("scale", self.scaler.change, self._look(now)))
        starting = len(self.service.open) - int(self.active.sum())
        if change > 0:
            off = [i for i in range(len(self.fleet)) if self.s.inst[i]["on"] == OFF and i not in self.service.open]
            draining = np.flatnonzero(self.s.inst["on"] == DRAINING).tolist()
            for i in (draining + off)[: max(change - starting, 0)]:
                self._start_instance(i, now)
        for i in np.flatnonzero(self.accepting)[::-1].tolist():
            if change < 0 and self._spare(i):
                self._drain(i, now)
                change += 1

    def _spare(self, i: int) -> bool:
        """Whether every model keeps an accepting instance without instance i."""
        others = self.accepting & (np.arange(len(self.fleet)) != i)
        return all((serves & others).any() for serves in self.serves)

    # -- scaling

    def _start_instance(self, i: int, now: float) -> None:
        if i in self.service.open:
            return self._serve(i, now)
        self.service.open[i] = now
        self.events.push(now + self.fleet.startup, (self._serve, i))
        return None

    def _serve(self, i: int, now: float) -> None:
        self.s.inst[i]["on"] = SERVING
        self.active[i] = True
        self._accept(i, True)

    def _drain(self, i: int, now: float) -> None:
        """No new requests for instance i; those that still wait there are dispatched again."""
        self.s.inst[i]["on"] = DRAINING
        self._accept(i, False)
        ids = np.empty(int(self.s.inst[i]["waiting"]), np.int64)
        queue.listing(self.s, i, ids)
        for request in ids[self.s.req["state"][ids] == 1].tolist():
            kernel.withdraw(self.s, request, now)
            self._arrive(request, now)

    def _switch_off_empty(self) -> None:
        inst = self.s.inst
        empty = (inst["on"] == DRAINING) & (inst["running"] == 0) & (inst["waiting"] == 0) & ~self.moves.busy
        for i in np.flatnonzero(empty).tolist():
            inst[i]["on"] = OFF
            self.active[i] = False
            self.service.close(i, max(float(inst[i]["idle_since"]), self.service.open[i]))

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
        if self.s.totals[FINISHED] < len(self.workload):
            tick.action(now)
            self._again(tick, now)

    def _sample(self, now: float) -> None:
        """One point of the load curves, from the true state; when there are many, every second one goes."""
        state = np.zeros(len(self.fleet), REPORT)
        reports.report(self.s, now, state)
        on = self.s.inst["on"] != OFF
        used = (self.constant[0] - state["free"])[on].sum() / max(self.constant[0][on].sum(), 1)
        waiting = (state["waiting"] + state["sent"])[on].sum()
        self.load.append((now, float(state["running"][on].sum()), float(waiting), float(used), float(on.sum())))
        if len(self.load) > 2 * LOAD_POINTS:
            del self.load[::2]
            self.sampling.interval *= 2

    # -- views

    def _look(self, now: float, model: int | None = None) -> FleetView:
        """The fleet as reported; accepting are the instances that serve `model` (any, if None)."""
        interval = self.fleet.report_interval
        if not self.fresh and (not interval or now >= self.reported_at + interval):
            reports.report(self.s, now, self.reports)
            self.reported_at = now - now % interval if interval else now
        self.fresh = False
        view = self.sights[-1 if model is None else model]
        object.__setattr__(view, "now", now)
        return view

    def _sight(self, accepting: np.ndarray) -> FleetView:
        """A view onto the reports, brought up to date in place rather than made anew for each decision."""
        c, (total, watermark) = {name: _read_only(self.reports[name]) for name in REPORT.names or ()}, self.constant
        return FleetView(
            0.0, c["as_of"], _read_only(accepting), _read_only(self.active), total, c["free"], watermark, c["running"],
            c["waiting"], c["waiting_blocks"], c["head_blocks"], c["urgent"], c["killed"], c["kv_tokens"], c["prefill_tokens"],
            c["sent"], c["sent_blocks"], c["sent_tokens"], _read_only(self.moves.busy), self.fleet.kinds, self._cached,
        )  # fmt: skip

    def _accept(self, i: int, accepts: bool) -> None:
        """Instance i takes new requests from now on, or no longer does."""
        self.accepting[i] = accepts
        for serves, mask in zip(self.serves, self.masks, strict=True):
            mask[i] = accepts and serves[i]

    def _cached(self, request: RequestView) -> np.ndarray:
        tokens = np.zeros(len(self.fleet), np.int64)
        if request.prefix:
            reports.cached_tokens(self.s, request.id, tokens)
        return tokens

    def _batch(self, i: int, now: float) -> BatchView:
        rows = np.zeros((8, int(self.s.inst[i]["running"])), np.int64)
        kernel.batch(self.s, i, now, rows)
        rid, priority, tenant, prompt, generated, blocks, decoding, movable = rows
        return BatchView(now, i, rid, priority, tenant, prompt, generated, blocks, decoding > 0, movable > 0)

    def _queue_view(self, i: int, ids: Sequence[int], now: float) -> QueueView:
        views = [self._request_view(int(r)) for r in ids]
        cached = np.array([self._cached(v)[i] if v.prefix else 0 for v in views], np.int64)
        inst = self.s.inst[i]
        batch = self.s.run[i, : inst["running"]]
        tenants = np.bincount(self.s.req["tenant"][batch], minlength=len(self.workload.tenants))
        free = int(inst["free"] - inst["watermark"])
        spent = self.s.service[i].copy()
        return QueueView(now, i, views, cached, free, spent[:, 0], spent[:, 1], tenants)

    def _request_view(self, request: int) -> RequestView:
        """A request as it stands now (its predicted length included)."""
        q = self.s.req[request]
        view = RequestView.of(self.workload, request, arrival=float(q["arrival"]), generated=int(q["generated"]))
        return self._predict([view])[0]

    def _prepare(self, ids: Sequence[int]) -> list[RequestView]:
        """Views, predictions and static ranks of requests about to arrive."""
        views = [self._request_plain(int(r)) for r in ids]
        views = self._predict(views)
        if not self.order.dynamic:
            nothing = np.zeros(len(self.workload.tenants), np.int64)
            neutral = np.zeros(len(views), np.int64)
            sight = QueueView(self.now, -1, views, neutral, 0, nothing, nothing, nothing)
            self.s.req["rank"][np.asarray(ids)] = self._ask("order", self.order.rank, sight)
        self.prepared.update((view.id, view) for view in views)
        return views

    def _request_plain(self, request: int) -> RequestView:
        return RequestView.of(self.workload, request, arrival=float(self.s.req["arrival"][request]))

    def _predict(self, views: list[RequestView]) -> list[RequestView]:
        if self.lengths is None:
            return views
        return [replace(view, predicted=self.lengths.predict(view)) for view in views]

    # -- start and end

    def _settings(self) -> None:
        count = self.s.totals
        count[NOTIFY_FIRST] = bool(self.rescheduler.after_prefill)
        count[DYNAMIC] = bool(self.order.dynamic)
        count[TRACK_SERVICE] = bool(self.order.dynamic)
        count[CHUNK] = self.workload.prefix_chunk
        self.s.inst["swaps"] = self.policies["preempt"].mechanism == "swap"

    def _close(self) -> Run:
        lost = np.flatnonzero(self.s.req["state"] != DONE)
        if len(lost):
            raise RotaError(
                f"request {lost[0]} never ended: instance {self.s.req[lost[0]]['instance']} cannot make progress"
            )
        self._switch_off_empty()
        end = float(self.s.req["finish"].max(initial=0.0))
        for i in list(self.service.open):
            self.service.close(i, max(end, self.service.open[i]))
        return collect(self)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _children(workload: Workload) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for child in np.flatnonzero(workload.parent >= 0).tolist():
        found.setdefault(int(workload.parent[child]), []).append(child)
    return found


def _serves(fleet: Fleet, workload: Workload) -> list[np.ndarray]:
    """For each model of the workload, which instances serve it; a workload of the model `default` runs anywhere."""
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
    for code, mask in enumerate(_serves(fleet, workload)):
        kinds = [kind for kind, served in zip(fleet.kinds, mask, strict=True) if served]
        least = min(kinds, key=lambda kind: kind.blocks - kind.watermark_blocks)
        room = (least.blocks - least.watermark_blocks) * 16
        size = workload.prompt + workload.output
        bad = np.flatnonzero((workload.model == code) & (size > room))
        if len(bad):
            where = f"{workload.name}: request {bad[0]}"
            raise InputError(
                where, f"{size[bad[0]]} tokens of prompt and output", f"at most {room}, the KV memory of {least.name}"
            )
