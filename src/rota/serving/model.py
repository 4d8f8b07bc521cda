"""The nouns of serving: requests, workloads, instances and fleets. Times are seconds, lengths are tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rota.core.errors import InputError

BLOCK = 16
"""Tokens in a KV block."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Slo:
    """A service-level objective: bounds on metrics by name, e.g. `Slo({"ttft_p99": 1.0, "tpot_p95": 0.05})` (seconds)."""

    bounds: Mapping[str, float]


@dataclass(frozen=True)
class Workload:
    """Requests as columns, in order of arrival. Nothing but the simulator may read `output`.

    Attributes:
        arrival: (n,) seconds; for a request with a `parent`, ignored (it arrives `think` seconds after the parent ends).
        prompt: (n,) prompt tokens, >= 1.
        output: (n,) output tokens, >= 1. Hidden from every policy.
        tenant: (n,) index into `tenants`.
        priority: (n,) 0 normal; larger is more urgent.
        session: (n,) conversation of which this is a turn, -1 for none.
        turn: (n,) turn number in the session, from 0.
        parent: (n,) request whose completion releases this one, -1 for none.
        think: (n,) seconds between the parent's completion and this arrival.
        joins: (k, 2) pairs (row, earlier row): the row, which has a parent, waits for that other request too; it arrives
            `think` seconds after the last of all that it waits for.
        model: (n,) index into `models`.
        slo_ttft, slo_tpot: (n,) seconds, NaN where none is promised.
        prefix_start: (n + 1,) request i's chain of prefix hashes is `prefix_hash[prefix_start[i]:prefix_start[i + 1]]`.
        prefix_hash: chained hashes of successive chunks of `prefix_chunk` tokens: equal hash, equal text so far. Hashes
            beyond the prompt cover the output, and become reusable when the request ends.
        prefix_chunk: tokens a hash covers (a multiple of 16).
        name: what the workload is called in tables.
    """

    arrival: Floats
    prompt: Ints
    output: Ints
    tenant: Ints
    priority: Ints
    session: Ints
    turn: Ints
    parent: Ints
    think: Floats
    model: Ints
    slo_ttft: Floats
    slo_tpot: Floats
    prefix_start: Ints
    prefix_hash: Ints
    joins: Ints
    prefix_chunk: int = 512
    tenants: tuple[str, ...] = ("default",)
    models: tuple[str, ...] = ("default",)
    name: str = "workload"

    @classmethod
    def of(
        cls, arrival: ArrayLike, prompt: ArrayLike, output: ArrayLike, *, name: str = "workload", **columns: object
    ) -> Workload:
        """A workload from arrivals and lengths; other columns by keyword, neutral where left out.

        Raises:
            InputError: unequal lengths, NaN or negative arrivals out of order, lengths below 1.
        """
        n = len(np.atleast_1d(np.asarray(arrival)))
        neutral: dict[str, object] = {
            "tenant": np.zeros(n), "priority": np.zeros(n), "session": np.full(n, -1), "turn": np.zeros(n),
            "parent": np.full(n, -1), "think": np.zeros(n), "model": np.zeros(n), "slo_ttft": np.full(n, np.nan),
            "slo_tpot": np.full(n, np.nan), "prefix_start": np.zeros(n + 1), "prefix_hash": np.zeros(0), "joins": np.zeros((0, 2)),
        }  # fmt: skip
        values = {"arrival": arrival, "prompt": prompt, "output": output, **neutral, **columns}
        for column in (f for f in fields(cls) if f.type in ("Floats", "Ints")):
            given = np.asarray(values[column.name])
            if column.type == "Ints" and given.dtype.kind == "f":
                _require(name, column.name, given, given == np.rint(given), "a whole number")
            kind = np.float64 if column.type == "Floats" else np.int64
            values[column.name] = np.ascontiguousarray(given, dtype=kind)
        return cls(name=name, **values)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        n = len(self.arrival)
        for column in ROW_COLUMNS:
            if len(getattr(self, column)) != n:
                raise InputError(
                    f"{self.name}: column {column}", f"{len(getattr(self, column))} rows", f"{n}, as in arrival"
                )
        _require(
            self.name,
            "arrival",
            self.arrival,
            np.isfinite(self.arrival) & (self.arrival >= 0),
            "a number of seconds >= 0",
        )
        for column in ("prompt", "output"):
            _require(self.name, column, getattr(self, column), getattr(self, column) >= 1, "at least 1 token")
        own = self.parent < 0
        late = np.flatnonzero(np.diff(self.arrival[own]) < 0)
        if len(late):
            row = int(np.flatnonzero(own)[late[0] + 1])
            raise InputError(
                f"{self.name}: arrival, row {row}", f"{self.arrival[row]:g}", "arrivals in ascending order"
            )
        _require(self.name, "parent", self.parent, self.parent < np.arange(n), "an earlier row, or -1")
        _require(
            self.name, "think", self.think, np.isfinite(self.think) & (self.think >= 0), "a number of seconds >= 0"
        )
        if self.joins.shape[1:] != (2,):
            raise InputError(f"{self.name}: joins", f"shape {self.joins.shape}", "pairs (row, earlier row)")
        for row, earlier in self.joins.tolist():
            if not (0 <= earlier < row < n and self.parent[row] >= 0):
                raise InputError(
                    f"{self.name}: joins", f"({row}, {earlier})", "a row with a parent, and an earlier row"
                )
        for column, names in (("tenant", self.tenants), ("model", self.models)):
            code = getattr(self, column)
            _require(
                self.name, column, code, (code >= 0) & (code < len(names)), f"an index into {len(names)} {column}s"
            )
        if self.prefix_chunk < BLOCK or self.prefix_chunk % BLOCK:
            raise InputError(f"{self.name}: prefix_chunk", str(self.prefix_chunk), f"a multiple of {BLOCK}")
        starts = self.prefix_start
        if len(starts) != n + 1 or starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] != len(self.prefix_hash):
            raise InputError(
                f"{self.name}: prefix_start", f"{len(starts)} values up to {starts[-1] if len(starts) else None}",
                f"{n + 1} ascending ones from 0 to {len(self.prefix_hash)}, the number of hashes",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def duration(self) -> float:
        """Seconds from time 0 to the last arrival that is known beforehand."""
        return float(self.arrival[self.parent < 0].max(initial=0.0))

    @property
    def rate(self) -> float:
        """Mean arrivals a second, of all requests, over `duration`."""
        return len(self) / self.duration if self.duration > 0 else float("inf")

    def predecessors(self) -> dict[int, list[int]]:
        """What each row that waits waits for, rows ascending."""
        found = {row: [int(self.parent[row])] for row in np.flatnonzero(self.parent >= 0).tolist()}
        for row, earlier in self.joins.tolist():
            found[row].append(earlier)
        return found

    def take(self, rows: ArrayLike) -> Workload:
        """The chosen rows (indices in ascending order, or a mask); what waits for a row left out is left out too."""
        keep = np.zeros(len(self), dtype=bool)
        keep[np.asarray(rows)] = True
        for row, waits in self.predecessors().items():
            keep[row] &= keep[waits].all()
        new = np.cumsum(keep) - 1
        chosen = np.flatnonzero(keep)
        columns = {c: getattr(self, c)[chosen] for c in ROW_COLUMNS}
        columns["parent"] = np.where(columns["parent"] >= 0, new[columns["parent"]], -1)
        length = np.diff(self.prefix_start)
        return replace(
            self, **columns, joins=new[self.joins[keep[self.joins[:, 0]]]], prefix_start=np.concatenate([[0], np.cumsum(length[chosen])]),
            prefix_hash=self.prefix_hash[np.repeat(keep, length)],
        )  # fmt: skip

    def at_rate(self, rate: float) -> Workload:
        """The same requests, arrivals (not think times) stretched so that `rate` of them come a second."""
        if not rate > 0:
            raise InputError("rate", f"{rate}", "a number > 0")
        return replace(self, arrival=self.arrival * (self.rate / rate))

    def requests(self) -> Iterator[RequestView]:
        """What a policy may know of each request, in order."""
        return (RequestView.of(self, i) for i in range(len(self)))


ROW_COLUMNS = (
    "arrival",
    "prompt",
    "output",
    "tenant",
    "priority",
    "session",
    "turn",
    "parent",
    "think",
    "model",
    "slo_ttft",
    "slo_tpot",
)


class RequestView(msgspec.Struct, frozen=True, gc=False):
    """What a policy may know of a request. The output length is not among it.

    `predicted` is a `rota.serving.lengths.LengthDistribution` where a length predictor is in force, else None.
    `generated` counts the tokens it has already been given (> 0 after a preemption).
    """

    id: int
    arrival: float
    prompt: int
    priority: int = 0
    tenant: int = 0
    session: int = -1
    turn: int = 0
    model: int = 0
    prefix: tuple[int, ...] = ()
    predicted: object = None
    generated: int = 0

    @classmethod
    def of(cls, workload: Workload, i: int, arrival: float | None = None, generated: int = 0) -> RequestView:
        """Request `i` of a workload; `arrival` where it is known only at run time, `generated` if it has run before."""
        w, prefix = workload, ()
        if len(w.prefix_hash):
            first = int(w.prefix_start[i])
            last = min(int(w.prefix_start[i + 1]), first + int(w.prompt[i]) // w.prefix_chunk)
            prefix = tuple(w.prefix_hash[first:last].tolist())
        return cls(
            i, float(w.arrival[i]) if arrival is None else arrival, int(w.prompt[i]), int(w.priority[i]), int(w.tenant[i]),
            int(w.session[i]), int(w.turn[i]), int(w.model[i]), prefix, None, generated,
        )  # fmt: skip

    @classmethod
    def many(cls, workload: Workload, rows: Sequence[int], arrival: Floats) -> list[RequestView]:
        """New requests, each as `of` gives it; `arrival` is of all requests of the workload, as far as known."""
        w, at = workload, np.asarray(rows, np.int64)
        columns = (arrival, w.prompt, w.priority, w.tenant, w.session, w.turn, w.model)
        plain = [column[at].tolist() for column in columns]
        if not len(w.prefix_hash):
            return [cls(*values) for values in zip(at.tolist(), *plain, strict=True)]
        first = w.prefix_start[at]
        last = np.minimum(w.prefix_start[at + 1], first + w.prompt[at] // w.prefix_chunk)
        low = int(first.min())
        known = w.prefix_hash[low : int(last.max())].tolist()
        spans = zip((first - low).tolist(), (last - low).tolist(), strict=True)
        prefixes = [tuple(known[start:end]) for start, end in spans]
        return [cls(*values) for values in zip(at.tolist(), *plain, prefixes, strict=True)]


@dataclass(frozen=True)
class StepCost:
    """How long an engine step takes (seconds; notes of each preset in `presets.py` name hardware, model and source).

    A step over B decoding sequences that hold KV tokens between them, and prefill chunks of c_i new tokens on p_i cached ones:

        N = B + sum(c_i)
        T = base + g(N) + per_sequence * B + per_kv_token * KV + quadratic * sum(c_i * (p_i + c_i / 2)) + per_prompt * (prompts begun)

    with base = `decode_base` if B > 0 else `prefill_base`, and g piece-wise linear through (`tokens`, `seconds`), constant
    below the first point and continued with the last slope.
    """

    tokens: tuple[float, ...]
    seconds: tuple[float, ...]
    decode_base: float = 0.0
    prefill_base: float = 0.0
    per_sequence: float = 0.0
    per_kv_token: float = 0.0
    quadratic: float = 0.0
    per_prompt: float = 0.0

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.seconds) or not self.tokens:
            raise InputError(
                "StepCost.seconds", f"{len(self.seconds)} values", f"one for each of {len(self.tokens)} tokens"
            )
        if any(b <= a for a, b in zip(self.tokens, self.tokens[1:], strict=False)):
            raise InputError("StepCost.tokens", str(self.tokens), "ascending values")
        for f in fields(self)[2:]:
            if not np.isfinite(getattr(self, f.name)):
                raise InputError(f"StepCost.{f.name}", str(getattr(self, f.name)), "a finite number of seconds")
        if self.per_kv_token < 0:
            raise InputError("StepCost.per_kv_token", str(self.per_kv_token), "a number of seconds >= 0")

    def linear(self, n: float) -> float:
        """g(n), seconds."""
        x, y = self.tokens, self.seconds
        if n > x[-1] and len(x) > 1:
            return y[-1] + (n - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
        return float(np.interp(n, x, y))

    def step(
        self, decoding: int, kv_tokens: float, chunks: Sequence[tuple[int, int]] = (), begun: int | None = None
    ) -> float:
        """Seconds of one step; `chunks` are (new, cached) token counts, `begun` how many prompts start (default: all)."""
        n = decoding + sum(c for c, _ in chunks)
        base = self.decode_base if decoding else self.prefill_base
        attention = self.quadratic * sum(c * (p + c / 2) for c, p in chunks)
        prompts = self.per_prompt * (len(chunks) if begun is None else begun)
        return (
            base + self.linear(n) + self.per_sequence * decoding + self.per_kv_token * kv_tokens + attention + prompts
        )


@dataclass(frozen=True)
class Transfer:
    """A link over which KV moves: `seconds(bytes) = latency + bytes / bandwidth` (seconds, bytes per second)."""

    bandwidth: float
    latency: float = 0.0

    def __post_init__(self) -> None:
        if not self.bandwidth > 0 or not self.latency >= 0:
            found = f"bandwidth {self.bandwidth:g}, latency {self.latency:g}"
            raise InputError("Transfer", found, "a bandwidth > 0 and a latency >= 0")

    def seconds(self, size: float) -> float:
        """Time to move `size` bytes."""
        return self.latency + size / self.bandwidth


@dataclass(frozen=True)
class Instance:
    """One engine replica: a model on its GPUs, with the limits of its scheduler.

    Attributes:
        name: e.g. `llama-7b/a10`.
        cost: step durations.
        blocks: KV blocks of 16 tokens.
        kv_bytes: bytes of KV one token takes, over all layers and GPUs.
        layers: transformer layers (copy calls are counted per layer).
        max_sequences: most sequences that run at once.
        max_batched_tokens: prefill tokens admitted to one step (`whole`), or token budget of a step (`chunked`).
        prefill: `whole` runs prompts in steps of their own (vLLM 0.1-0.5); `chunked` mixes decodes and prompt chunks.
        watermark: share of blocks kept free at admission.
        prefix_cache: keep and reuse the KV of known prefixes.
        migration: link between instances.
        swap: link between GPU and CPU memory.
        swap_call: seconds to issue one copy call (there are 2 x layers x blocks of them with per-block copies).
        cpu_blocks: room for swapped-out KV.
        model: which model it serves.
        gpus: how many GPUs one instance takes (for cost).
    """

    name: str
    cost: StepCost
    blocks: int
    kv_bytes: float = 131072.0
    layers: int = 32
    max_sequences: int = 256
    max_batched_tokens: int = 8192
    prefill: Literal["whole", "chunked"] = "chunked"
    watermark: float = 0.01
    prefix_cache: bool = False
    migration: Transfer = field(default_factory=lambda: Transfer(6e9, 0.01))
    swap: Transfer = field(default_factory=lambda: Transfer(25e9))
    swap_call: float = 5e-6
    cpu_blocks: int = 32768
    model: str = "default"
    gpus: int = 1

    def __post_init__(self) -> None:
        for name in ("blocks", "kv_bytes", "layers", "max_sequences", "max_batched_tokens", "gpus"):
            if not getattr(self, name) >= 1:
                raise InputError(f"instance {self.name}: {name}", str(getattr(self, name)), "at least 1")
        if self.prefill not in ("whole", "chunked"):
            raise InputError(f"instance {self.name}: prefill", repr(self.prefill), "'whole' or 'chunked'")
        if not 0 <= self.watermark < 1:
            raise InputError(f"instance {self.name}: watermark", str(self.watermark), "a share in [0, 1)")
        for name in ("swap_call", "cpu_blocks"):
            if not getattr(self, name) >= 0:
                raise InputError(f"instance {self.name}: {name}", str(getattr(self, name)), "a number >= 0")

    @property
    def watermark_blocks(self) -> int:
        """Blocks kept free at admission."""
        return int(self.watermark * self.blocks)

    def swap_seconds(self, blocks: int) -> float:
        """Seconds to swap `blocks` with one copy call a block, layer and K or V (what vLLM does)."""
        return max(2 * self.layers * blocks * self.swap_call, self.swap.seconds(blocks * BLOCK * self.kv_bytes))


@dataclass(frozen=True)
class Fleet:
    """Instances that serve one stream of requests. Kinds may differ in GPU and model.

    Attributes:
        kinds: kind of each slot; the slots from `initial` on are off until a scaling policy starts them.
        initial: how many are on at time 0 (default: all).
        startup: seconds from the decision to start an instance until it serves.
        report_interval: seconds between the status reports that policies see; 0 means after every step.
        counts_sent: whether policies are told what was dispatched since a report (`sent*` of the view). Llumnix's artifact
            does not count it, so that requests that come within a step herd together.
        name: what the fleet is called in tables.
    """

    kinds: tuple[Instance, ...]
    initial: int | None = None
    startup: float = 0.0
    report_interval: float = 0.0
    counts_sent: bool = True
    name: str = "fleet"

    @classmethod
    def of(cls, kind: Instance, count: int, **options: object) -> Fleet:
        """`count` instances of one kind."""
        if count < 1:
            raise InputError("instances", str(count), "at least 1")
        return cls((kind,) * count, **{"name": f"{count} x {kind.name}", **options})  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        if not self.kinds:
            raise InputError(f"fleet {self.name}", "no instance", "at least one")
        if self.initial is not None and not (isinstance(self.initial, int) and 1 <= self.initial <= len(self)):
            raise InputError(f"fleet {self.name}: initial", repr(self.initial), f"a whole number from 1 to {len(self)}")
        if not isinstance(self.counts_sent, bool):
            raise InputError(f"fleet {self.name}: counts_sent", repr(self.counts_sent), "true or false")
        for name in ("startup", "report_interval"):
            seconds = getattr(self, name)
            if not isinstance(seconds, int | float) or not 0 <= seconds < np.inf:
                raise InputError(f"fleet {self.name}: {name}", repr(seconds), "a number of seconds >= 0")

    def __len__(self) -> int:
        return len(self.kinds)


def blocks_for(tokens: int) -> int:
    """KV blocks that hold `tokens` tokens."""
    return -(-tokens // BLOCK)


def _require(name: str, column: str, values: NDArray[np.generic], good: NDArray[np.bool_], expected: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise InputError(f"{name}: {column}, row {bad[0]}", f"{values[bad[0]]}", expected)
