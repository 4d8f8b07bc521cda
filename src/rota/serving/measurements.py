"""What was measured of an engine, in the three forms that `rota calibrate` reads.

    StepLog     a row for each step of the engine             decoding, kv_tokens, prefill_tokens, seconds
    ClientLog   a row for each request, seen by the client    arrival, prompt, output, ttft, tpot (or e2e)
    LoadTable   a row for each closed-loop load test          isl, osl, concurrency, ttft, tpot

Each form can say what work the engine did in which span of time (`work`, from which step costs are fitted), what was measured
(`measured`), and what an instance would have shown in its place (`predict`, by simulation where requests interact).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np

from rota.core.errors import InputError
from rota.serving.model import Fleet, Floats, Instance, Ints, StepCost, Workload

REST_OF_STEP = 0.5
"""Share of a step that is still to run, on average, when a request arrives."""
ROUNDS = 10
"""Requests that each client of a simulated closed-loop test sends, one after another."""


@dataclass(frozen=True)
class Work:
    """What an engine did in n spans of time (arrays of n).

    Attributes:
        seconds: length of the span.
        quiet: steps in it that only decoded.
        mixed: steps in it that decoded and took prompt tokens.
        pure: steps in it that only took prompt tokens.
        decoding: mean number of sequences that decode in a quiet or mixed step.
        kv_tokens: mean number of KV tokens that those hold.
        prompt_tokens: prompt tokens taken in, in all.
        pairs: sum of c * (p + c / 2) over prompt chunks of c new tokens on p cached ones.
        prompts: prompts begun.
    """

    seconds: Floats
    quiet: Floats
    mixed: Floats
    pure: Floats
    decoding: Floats
    kv_tokens: Floats
    prompt_tokens: Floats
    pairs: Floats
    prompts: Floats

    def join(self, other: Work) -> Work:
        """The spans of both."""
        return Work(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


class Measurements(Protocol):
    """What the fit needs of measurements of any form."""

    def __len__(self) -> int:
        """Rows."""

    def work(self, rows: Ints, engine: Instance) -> Work:
        """Work and time of the spans that `rows` speak of, on an engine with this scheduler."""

    def measured(self, rows: Ints) -> dict[str, Floats]:
        """Measured seconds by metric, one for each of `rows`; NaN where a row has none."""

    def predict(self, rows: Ints, instance: Instance) -> dict[str, Floats]:
        """What `instance` would have shown, in the shape of `measured`."""


class _Columns:
    """Equally long columns of finite, non-negative numbers."""

    def __post_init__(self) -> None:
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "Floats"}  # type: ignore[arg-type]
        size = len(next(iter(columns.values())))
        if size == 0:
            raise InputError(type(self).__name__, "no rows", "at least one measurement")
        for name, values in columns.items():
            bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
            if len(values) != size or len(bad):
                found = f"{values[bad[0]]} in row {bad[0]}" if len(bad) else f"{len(values)} rows"
                raise InputError(f"{type(self).__name__}: {name}", found, f"{size} numbers >= 0")

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]


@dataclass(frozen=True)
class StepLog(_Columns):
    """Steps of an engine: sequences decoding and the KV tokens they hold, prompt tokens taken in, seconds.

    Attributes:
        pairs: sum of c * (p + c / 2) over the step's chunks; where not logged, one chunk on an empty cache is assumed.
        prompts: prompts begun in the step.
    """

    decoding: Floats
    kv_tokens: Floats
    prefill_tokens: Floats
    pairs: Floats
    prompts: Floats
    seconds: Floats

    def work(self, rows: Ints, engine: Instance) -> Work:
        """Every step is a span."""
        decodes, prompts = (np.where(column[rows] > 0, 1.0, 0.0) for column in (self.decoding, self.prefill_tokens))
        return Work(
            self.seconds[rows], 1 - prompts, prompts * decodes, prompts * (1 - decodes), self.decoding[rows],
            self.kv_tokens[rows], self.prefill_tokens[rows], self.pairs[rows], self.prompts[rows],
        )  # fmt: skip

    def measured(self, rows: Ints) -> dict[str, Floats]:
        """Seconds of each step."""
        return {"step": self.seconds[rows]}

    def predict(self, rows: Ints, instance: Instance) -> dict[str, Floats]:
        """Step durations by the instance's cost."""
        return {"step": step_seconds(instance.cost, self)[rows]}


@dataclass(frozen=True)
class ClientLog(_Columns):
    """Requests to one instance as its client saw them; seconds and tokens."""

    arrival: Floats
    prompt: Floats
    output: Floats
    ttft: Floats
    tpot: Floats

    def work(self, rows: Ints, engine: Instance) -> Work:
        """Two spans a request, waiting and decoding; what else went on in them is read off all the other requests."""
        first = self.arrival + self.ttft
        finish = first + self.tpot * (self.output - 1)
        during = _Activity(first, finish, self)
        waiting = during.span(self.arrival[rows], first[rows], engine, None)
        some = rows[self.output[rows] > 1]
        return waiting.join(during.span(first[some], finish[some], engine, self.output[some] - 1))

    def measured(self, rows: Ints) -> dict[str, Floats]:
        """TTFT, and TPOT of requests with more than one token."""
        return {"ttft": self.ttft[rows], "tpot": np.where(self.output > 1, self.tpot, np.nan)[rows]}

    def predict(self, rows: Ints, instance: Instance) -> dict[str, Floats]:
        """TTFT and TPOT of the same requests, simulated on one instance."""
        order = np.argsort(self.arrival, kind="stable")
        load = Workload.of(self.arrival[order], self.prompt[order], self.output[order], name="client log")
        found = _latencies(instance, load)
        back = np.argsort(order, kind="stable")[rows]
        return {name: values[back] for name, values in found.items()}


@dataclass(frozen=True)
class LoadTable(_Columns):
    """Mean TTFT and TPOT of closed-loop tests: `concurrency` clients, each sending `isl` tokens for `osl`, one after another.

    Attributes:
        spare: how many sequences fewer than clients the engine runs at once: 1 where its batch limit was set to the
            concurrency and its scheduler works a step ahead, so that a finished sequence's place is free a step late.
    """

    isl: Floats
    osl: Floats
    concurrency: Floats
    ttft: Floats
    tpot: Floats
    spare: int = 0

    def work(self, rows: Ints, engine: Instance) -> Work:
        """The decoding span of a mean request (by Little's law), and the first span of a lone client."""
        isl, osl, clients = self.isl[rows], np.maximum(self.osl[rows], 2), self.concurrency[rows]
        seconds = (osl - 1) * self.tpot[rows]
        others = (clients - 1) * seconds / (seconds + self.ttft[rows])
        quiet, mixed, pure = _steps(osl - 1, others, others * isl, engine)
        kv = (1 + others) * (isl + osl / 2)
        busy = Work(seconds, quiet, mixed, pure, 1 + others, kv, others * isl, others * isl**2 / 2, others)
        alone = clients == 1
        zero, one, n = np.zeros(alone.sum()), np.ones(alone.sum()), isl[alone]
        chunks = np.ceil(n / engine.max_batched_tokens)
        return busy.join(Work(self.ttft[rows][alone], zero, zero, chunks, zero, zero, n, n**2 / 2, one))

    def measured(self, rows: Ints) -> dict[str, Floats]:
        """Mean TTFT and TPOT of each test."""
        return {"ttft": self.ttft[rows], "tpot": self.tpot[rows]}

    def predict(self, rows: Ints, instance: Instance) -> dict[str, Floats]:
        """Mean TTFT and TPOT of simulated closed-loop tests."""
        means = [self._means(i, instance) for i in rows]
        return {name: np.array([mean[name] for mean in means]) for name in ("ttft", "tpot")}

    def _means(self, row: int, instance: Instance) -> dict[str, float]:
        clients = int(self.concurrency[row])
        room = max(1, min(instance.max_sequences, clients - self.spare))
        load = closed_loop(clients, int(self.isl[row]), int(self.osl[row]))
        return {
            name: float(np.nanmean(v)) for name, v in _latencies(replace(instance, max_sequences=room), load).items()
        }


class _Activity:
    """What the requests of a client log did, integrated over time: differences of these curves give means over any span."""

    def __init__(self, first: Floats, finish: Floats, log: ClientLog) -> None:
        held = log.prompt + log.output / 2
        rate = np.divide(1.0, log.tpot, out=np.zeros_like(log.tpot), where=log.tpot > 0)
        self._times = np.unique(np.concatenate([first, finish]))
        self._running, self._held, self._tokens = (
            self._integral(first, finish, w) for w in (np.ones_like(first), held, rate)
        )
        order = np.argsort(first, kind="stable")
        self._firsts = first[order]
        self._sums = [
            np.concatenate([[0.0], np.cumsum(v[order])]) for v in (log.prompt, log.prompt**2 / 2, np.ones_like(first))
        ]

    def span(self, start: Floats, end: Floats, engine: Instance, decodes: Floats | None) -> Work:
        """Work in the half-open spans (start, end]; without `decodes`, steps are those of the prompts taken in."""
        length = np.maximum(end - start, 1e-12)
        running, held, tokens = (
            (np.interp(end, self._times, c) - np.interp(start, self._times, c)) / length
            for c in (self._running, self._held, self._tokens)
        )
        since, until = (np.searchsorted(self._firsts, t, side="right") for t in (start, end))
        prompt, pairs, prompts = (s[until] - s[since] for s in self._sums)
        if decodes is None:
            seen = np.divide(tokens * length, running, out=np.zeros_like(length), where=running > 1e-9)
            decodes = np.minimum(seen, np.ceil(prompt / engine.max_batched_tokens) + REST_OF_STEP)
        quiet, mixed, pure = _steps(decodes, prompts, prompt, engine)
        return Work(end - start, quiet, mixed, pure, running, held, prompt, pairs, prompts)

    def _integral(self, first: Floats, finish: Floats, weight: Floats) -> Floats:
        change = np.zeros(len(self._times))
        np.add.at(change, np.searchsorted(self._times, first), weight)
        np.add.at(change, np.searchsorted(self._times, finish), -weight)
        return np.concatenate([[0.0], np.cumsum(np.cumsum(change)[:-1] * np.diff(self._times))])


def _steps(decodes: Floats, prompts: Floats, tokens: Floats, engine: Instance) -> tuple[Floats, Floats, Floats]:
    """Steps that only decode, do both, only take prompts, given how many decode and what prompts come in the same time."""
    size = np.divide(tokens, prompts, out=np.ones_like(tokens), where=prompts > 0)
    together = np.maximum(
        1.0, np.minimum(prompts / np.maximum(decodes, 1.0), engine.max_batched_tokens // np.maximum(size, 1.0))
    )
    chunks = np.maximum(prompts / together, tokens / engine.max_batched_tokens)
    mixed = np.minimum(decodes, chunks) if engine.prefill == "chunked" else np.zeros_like(chunks)
    return decodes - mixed, mixed, chunks - mixed


def step_seconds(cost: StepCost, log: StepLog) -> Floats:
    """`StepCost.step` over all rows of a log at once; seconds."""
    tokens, x, y = log.decoding + log.prefill_tokens, np.array(cost.tokens), np.array(cost.seconds)
    beyond = np.maximum(tokens - x[-1], 0) * ((y[-1] - y[-2]) / (x[-1] - x[-2]) if len(x) > 1 else 0.0)
    base = np.where(log.decoding > 0, cost.decode_base, cost.prefill_base)
    sequences = cost.per_sequence * log.decoding + cost.per_kv_token * log.kv_tokens
    return (
        base + np.interp(tokens, x, y) + beyond + sequences + cost.quadratic * log.pairs + cost.per_prompt * log.prompts
    )


def closed_loop(clients: int, prompt: int, output: int, rounds: int = ROUNDS) -> Workload:
    """`clients` users, each of whom sends a request as soon as the one before is answered, `rounds` times."""
    n = clients * rounds
    index = np.arange(n)
    parent = np.where(index < clients, -1, index - clients)
    name = f"{clients} clients x ({prompt}, {output})"
    return Workload.of(np.zeros(n), np.full(n, prompt), np.full(n, output), parent=parent, name=name)


def _latencies(instance: Instance, load: Workload) -> dict[str, Floats]:
    from rota.serving.simulate import simulate

    requests = simulate(Fleet.of(instance, 1), load, {"dispatch": "round-robin"}).requests
    return {name: np.asarray(requests[name], dtype=float) for name in ("ttft", "tpot")}
