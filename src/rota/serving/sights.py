"""What the policies of a simulation get to see: the views of `views.py`, built from its engines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rota.serving.engines import Engines
from rota.serving.kernels.state import QUIET, REPORT
from rota.serving.lengths import LengthPredictor
from rota.serving.model import Fleet, RequestView, Workload, blocks_for
from rota.serving.service import Service
from rota.serving.views import BatchView, FleetView, QueueView


class Sights:
    """Views onto a run. Of the fleet there is one for each model, brought up to date in place rather than made anew.

    `busy` (n,) marks instances in a migration; `lengths` predicts output lengths where a predictor is in force.
    """

    def __init__(
        self, fleet: Fleet, workload: Workload, engines: Engines, service: Service, busy: np.ndarray,
        lengths: LengthPredictor | None,
    ) -> None:  # fmt: skip
        self.fleet, self.workload, self.engines, self.lengths = fleet, workload, engines, lengths
        self.reports = np.zeros(len(fleet), REPORT)
        self.reported_at = -np.inf
        self.fresh = False
        self.constant = read_only(engines.inst["total"].copy()), read_only(engines.inst["watermark"].copy())
        self.active, self.busy = read_only(service.active), read_only(busy)
        self.views = [self._view(mask) for mask in (*service.masks, service.accepting)]
        self.nothing = np.zeros(len(fleet), np.int64)

    def advance(self, until: float) -> int:
        """Let the engines run up to `until`, and report there if reports are made after every step; see `Engines.advance`."""
        reporting = not self.fleet.report_interval and until < np.inf
        reason = self.engines.advance(until, self.reports, reporting)
        self.fresh = reporting and reason == QUIET
        return reason

    def look(self, now: float, model: int = -1) -> FleetView:
        """The fleet as reported; accepting are the instances that serve `model` (any, if -1)."""
        if not self.fresh:
            self._report(now)
        self.fresh = False
        view = self.views[model]
        object.__setattr__(view, "now", now)
        return view

    def sent(self, i: int, request: RequestView) -> None:
        """The dispatcher sent a request to instance i: it knows that before the next report does."""
        if self.fleet.report_interval:
            self.reports["sent"][i] += 1
            self.reports["sent_blocks"][i] += blocks_for(request.prompt)
            self.reports["sent_tokens"][i] += request.prompt

    def batch(self, i: int, now: float) -> BatchView:
        """The batch of instance i."""
        rid, priority, tenant, prompt, generated, blocks, decoding, movable = self.engines.batch(i, now)
        return BatchView(now, i, rid, priority, tenant, prompt, generated, blocks, decoding > 0, movable > 0)

    def queue(self, i: int, ids: Sequence[int], now: float) -> QueueView:
        """The requests `ids` that wait at instance i."""
        views = [self.request(int(r)) for r in ids]
        cached = np.array([self._cached(view)[i] for view in views], np.int64)
        inst = self.engines.inst[i]
        batch = self.engines.state.run[i, : inst["running"]]
        tenants = np.bincount(self.engines.req["tenant"][batch], minlength=len(self.workload.tenants))
        spent = self.engines.state.service[i].copy()
        return QueueView(
            now, i, views, cached, int(inst["free"] - inst["watermark"]), spent[:, 0], spent[:, 1], tenants
        )

    def coming(self, ids: Sequence[int], now: float) -> QueueView:
        """Requests about to arrive, nowhere yet."""
        nothing = np.zeros(len(self.workload.tenants), np.int64)
        views = self._predicted(RequestView.many(self.workload, ids, self.engines.req["arrival"]))
        return QueueView(now, -1, views, np.zeros(len(views), np.int64), 0, nothing, nothing, nothing)

    def request(self, request: int) -> RequestView:
        """A request as it stands now, its predicted length included."""
        q = self.engines.req[request]
        view = RequestView.of(self.workload, request, arrival=float(q["arrival"]), generated=int(q["generated"]))
        return self._predicted([view])[0]

    def _predicted(self, views: list[RequestView]) -> list[RequestView]:
        return self.lengths.annotate(views) if self.lengths is not None else views

    def _report(self, now: float) -> None:
        interval = self.fleet.report_interval
        if not interval or now >= self.reported_at + interval:
            self.engines.report(now, self.reports)
            self.reported_at = now - now % interval if interval else now

    def _view(self, accepting: np.ndarray) -> FleetView:
        c, (total, watermark) = {name: read_only(self.reports[name]) for name in REPORT.names or ()}, self.constant
        if not self.fleet.counts_sent:
            c |= {
                name: read_only(np.zeros(len(self.fleet), np.int64)) for name in ("sent", "sent_blocks", "sent_tokens")
            }
        return FleetView(
            0.0, c["as_of"], read_only(accepting), self.active, total, c["free"], watermark, c["running"],
            c["waiting"], c["waiting_blocks"], c["head_blocks"], c["urgent"], c["killed"], c["kv_tokens"], c["prefill_tokens"],
            c["sent"], c["sent_blocks"], c["sent_tokens"], self.busy, self.fleet.kinds, self._cached,
        )  # fmt: skip

    def _cached(self, request: RequestView) -> np.ndarray:
        return self.engines.cached_tokens(request.id) if request.prefix else self.nothing.copy()


def read_only(array: np.ndarray) -> np.ndarray:
    """The same array, not to be written through."""
    view = array.view()
    view.flags.writeable = False
    return view
