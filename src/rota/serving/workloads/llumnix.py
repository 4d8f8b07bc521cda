"""The workloads of the Llumnix paper (Sun et al., OSDI'24): generated length mixes, and stand-ins for its two real
ones."""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError, UnknownName
from rota.core.seeds import stream
from rota.serving.model import Floats, Workload
from rota.serving.workloads.arrivals import renewal
from rota.serving.workloads.laws import Law, Quantiles, Zipf

SHORT = Zipf(mean=128, alpha=2.0)
MEDIUM = Zipf(mean=256, alpha=1.5)
LONG = Zipf(mean=512, alpha=1.15)

LEVELS = (0.0, 0.5, 0.8, 0.95, 0.99, 1.0)
SHAREGPT = Quantiles(LEVELS, (6, 74, 348, 1484, 3388, 6144)), Quantiles(LEVELS, (150, 487, 781, 988, 1234, 2048))
BURSTGPT = Quantiles(LEVELS, (100, 582, 1427, 2345, 3549, 6144)), Quantiles(LEVELS, (40, 243, 434, 669, 964, 2048))
"""Stand-ins: P50, P80, P95 and P99 are those of the paper's Table 1 as remembered, not checked against it; the ends are chosen so that the means come near it
(306 and 500, 830 and 271 tokens). Prompt and output are drawn apart, which the real traces need not do."""

TRACES: dict[str, tuple[Law, Law]] = {
    "S-S": (SHORT, SHORT),
    "M-M": (MEDIUM, MEDIUM),
    "L-L": (LONG, LONG),
    "S-L": (SHORT, LONG),
    "L-S": (LONG, SHORT),
    "ShareGPT-stand-in": SHAREGPT,
    "BurstGPT-stand-in": BURSTGPT,
}
"""Laws of the prompt and output lengths of the traces by name (prompt first)."""

PUBLISHED_SEED = 0xCADE
"""With which the benchmark client of the artifact seeds NumPy before it draws a trace, in every run."""

CLIENT_DELAY = 0.0005, 0.0015
"""Seconds that the client adds to each gap: its event loop rounds a sleep up to milliseconds, then starts the request."""


def llumnix(
    trace: str = "L-L",
    rate: float = 3.0,
    n: int = 10_000,
    *,
    cv: float = 1.0,
    high_priority: float = 0.0,
    published: bool = False,
    seed: int = 0,
) -> Workload:
    """A trace of the Llumnix evaluation, by the rules of its artifact.

    Args:
        trace: `S-S`, `M-M`, `L-L`, `S-L` or `L-S`: short (mean 128), medium (256) or long (512) prompts and outputs; or
            `ShareGPT-stand-in`, `BurstGPT-stand-in` for the paper's real traces, of which only quantiles are known.
        rate: requests a second.
        n: requests; the paper uses 10,000, and with a third of them no policy has reached its steady state.
        cv: coefficient of variation of the Gamma gaps between arrivals; 1 is Poisson.
        high_priority: share of requests of priority 1, drawn at random (0.1 in the paper's Fig. 13).
        published: the very requests of the paper's runs, which all have the same seed: one draw of prompts, then outputs,
            then gaps, `n` as published. `seed` then draws only priorities and the small delays of the client.
        seed: root seed.

    Raises:
        UnknownName: no such trace.
        InputError: rate, n or cv out of range; `published` with a stand-in.
    """
    if trace not in TRACES:
        raise UnknownName("llumnix(trace=...)", trace, TRACES)
    prompt, output = TRACES[trace]
    if published:
        if not isinstance(prompt, Zipf) or not isinstance(output, Zipf):
            raise InputError("llumnix: published", repr(trace), "a generated trace: S-S, M-M, L-L, S-L or L-S")
        if not (rate > 0 and cv > 0 and n >= 1):
            raise InputError("llumnix: published", f"rate={rate:g}, cv={cv:g}, n={n}", "rate and cv > 0, and n >= 1")
        draw = np.random.RandomState(PUBLISHED_SEED)
        lengths = prompt.sample(draw, n), output.sample(draw, n)
        arrival = _published_arrivals(draw, rate, n, cv, seed)
    else:
        arrival = renewal(stream(seed, "llumnix", "arrival"), rate, n, cv)
        lengths = (
            prompt.sample(stream(seed, "llumnix", "prompt"), n),
            output.sample(stream(seed, "llumnix", "output"), n),
        )
    return Workload.of(
        arrival,
        *lengths,
        priority=stream(seed, "llumnix", "priority").random(n) < high_priority,
        name=f"{trace} @ {rate:g}" + (f" CV {cv:g}" if cv != 1 else ""),
    )


def _published_arrivals(draw: np.random.RandomState, rate: float, n: int, cv: float, seed: int) -> Floats:
    """The client sends a request, then sleeps for a gap; exponential gaps, or Gamma where a CV was given."""
    gaps = draw.exponential(1 / rate, n - 1) if cv == 1 else draw.gamma(1 / cv**2, cv**2 / rate, n - 1)
    delays = stream(seed, "llumnix", "client").uniform(*CLIENT_DELAY, n - 1)
    return np.concatenate([[0.0], np.cumsum(gaps + delays)])
