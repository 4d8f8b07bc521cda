"""A generator in the manner of BurstGPT (Wang et al., KDD'25): bursts, days and weeks, models and log types, sessions,
failures.

The form is the paper's: inter-arrival times are Gamma with alpha(t), beta(t) held for 60 seconds, and responses depend
on requests. The numbers are these. Failure share: rows of the published files with and without failures (1,429.7 k and
1,404.3 k). Response law of conversations: mean and 5-95 % band read by eye from the paper's figure. Daily and weekly
profile, mix, and the API law: assumptions of a plausible size, since the data itself was not at hand; fit the real file
to replace them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.model import Floats, Ints, Workload
from rota.serving.workloads.formats import Reading
from rota.serving.workloads.laws import LogNormal
from rota.serving.workloads.merge import merge
from rota.serving.workloads.processes import PiecewiseGamma, Profile
from rota.serving.workloads.sessions import USER_TEXT, conversations

WINDOW = 60.0
"""Seconds that alpha and beta hold."""

FAILURES = 1 - 1404.3 / 1429.7
"""Share of failed requests in BurstGPT_1: 1.8 %."""

REQUEST = (1.0, 50.0, 200.0, 2000.0)
RESPONSE = {"ChatGPT": (260.0, 260.0, 150.0, 450.0), "GPT-4": (260.0, 260.0, 130.0, 400.0)}
RESPONSE_CV = (0.65, 0.65, 0.8, 0.33)
"""Mean and coefficient of variation of a conversation's response, tokens, at request lengths `REQUEST`; linear
between."""


@dataclass(frozen=True)
class Stream:
    """One kind of traffic: its share of the requests, burstiness (Gamma shape), and whether it is conversation or
    API."""

    model: str
    log: str
    share: float
    shape: float

    @property
    def name(self) -> str:
        """What the tenant column calls it, as in a file that was read: `ChatGPT, API log`."""
        return f"{self.model}, {self.log}"


STREAMS = (
    Stream("ChatGPT", "Conversation log", 0.45, 0.7),
    Stream("ChatGPT", "API log", 0.40, 0.15),
    Stream("GPT-4", "Conversation log", 0.10, 0.7),
    Stream("GPT-4", "API log", 0.05, 0.15),
)
"""Shapes 0.7 and 0.15 are coefficients of variation of 1.2 and 2.6; the paper's fallback is 0.5."""


def burstgpt(
    n: int = 10_000,
    rate: float = 1.0,
    *,
    model: str | None = None,
    log: str | None = None,
    turns: float = 3.5,
    think: float = 60.0,
    burstiness: float = 1.0,
    failures: float = FAILURES,
    hour: float = 9.0,
    weekday: int = 0,
    max_context: int = 8192,
    seed: int = 0,
) -> Workload:
    """Requests as a regional GPT service would see them; those that fail are left out, as they load no instance.

    Args:
        n: requests sent.
        rate: mean requests a second over a whole week.
        model: only `ChatGPT` or `GPT-4`; None: both.
        log: only `Conversation log` or `API log`; None: both. The tenant column tells all four apart.
        turns: mean turns of a conversation (3.5 in ShareGPT); a later turn waits for the answer and then `think`
            seconds.
        think: mean think time, seconds (exponential).
        burstiness: multiplies the variance of the gaps; 1 keeps the shapes of `STREAMS`.
        failures: share of requests that fail, in a crowded minute more of them; a failed turn ends its conversation.
        hour, weekday: when the trace begins: hour of the day, day of the week from 0 for Monday.
        max_context: tokens that no conversation outgrows.
        seed: root seed.

    Raises:
        InputError: a number out of range, or no such model or log type.
    """
    return burstgpt_trace(
        n, rate, model=model, log=log, turns=turns, think=think, burstiness=burstiness, failures=failures, hour=hour,
        weekday=weekday, max_context=max_context, seed=seed,
    ).workload  # fmt: skip


def burstgpt_trace(
    n: int = 10_000,
    rate: float = 1.0,
    *,
    model: str | None = None,
    log: str | None = None,
    turns: float = 3.5,
    think: float = 60.0,
    burstiness: float = 1.0,
    failures: float = FAILURES,
    hour: float = 9.0,
    weekday: int = 0,
    max_context: int = 8192,
    seed: int = 0,
) -> Reading:
    """As `burstgpt`, with the number of failed requests in `left_out`."""
    _check(n, rate, turns, burstiness, failures)
    chosen = [s for s in STREAMS if model in (None, s.model) and log in (None, s.log)]
    if not chosen:
        raise InputError(
            "burstgpt(model=..., log=...)",
            f"{model!r}, {log!r}",
            "'ChatGPT' or 'GPT-4'; 'Conversation log' or 'API log'",
        )
    whole = sum(s.share for s in chosen)
    parts = []
    for s in chosen:
        share = s.share / whole
        process = _process(
            s, rate * share, turns, burstiness, hour, weekday, stream(seed, "burstgpt", s.model, s.log, "profile")
        )
        requests = round(1.3 * n * share) + 10
        make = _conversations if s.log == "Conversation log" else _calls
        parts.append(make(s, process, requests, turns, think, max_context, seed))
    sent = merge(parts, f"burstgpt @ {rate:g}").take(np.arange(n))
    lost = _failures(sent, failures, stream(seed, "burstgpt", "failures"))
    return Reading(sent.take(~lost), "burstgpt", {"failed": int(lost.sum())} if lost.any() else {})


def weekly(rate: float, hour: float = 0.0, weekday: int = 0) -> Floats:
    """(10,080,) requests a second in each minute of a week from the given time, of mean `rate`.

    Nights fall to a fifth of the afternoon's peak, weekends to half of a working day: assumptions, of the size that the
    paper's figures show.
    """
    minute = np.arange(7 * 24 * 60)
    day = 0.6 - 0.4 * np.cos(2 * np.pi * (minute / 1440 - 3 / 24))
    shape = day * np.where(minute // 1440 >= 5, 0.5, 1.0)
    return np.roll(shape * (rate / shape.mean()), -round((weekday * 24 + hour) * 60))


def response(rng: np.random.Generator, model: str, request: Ints) -> Ints:
    """(n,) response tokens of a conversation given its request tokens: Gamma around the mean of the paper's figure."""
    mean = np.interp(request, REQUEST, RESPONSE[model])
    cv = np.interp(request, REQUEST, RESPONSE_CV)
    return np.maximum(np.rint(rng.gamma(1 / cv**2, mean * cv**2)), 1).astype(np.int64)


def _check(n: int, rate: float, turns: float, burstiness: float, failures: float) -> None:
    for name, value, good, expected in (
        ("n", n, n >= 1, "at least 1"),
        ("rate", rate, rate > 0, "a number > 0"),
        ("turns", turns, turns >= 1, "a mean of at least 1"),
        ("burstiness", burstiness, burstiness > 0, "a number > 0"),
        ("failures", failures, 0 <= failures < 1, "a share in [0, 1)"),
    ):
        if not good:
            raise InputError(f"burstgpt({name}=...)", str(value), expected)


def _process(
    s: Stream, rate: float, turns: float, burstiness: float, hour: float, weekday: int, rng: np.random.Generator
) -> PiecewiseGamma:
    """alpha(t), beta(t): the weekly profile with noise that lasts some minutes, and shapes scattered around the
    stream's."""
    begun = rate / turns if s.log == "Conversation log" else rate
    profile = weekly(begun, hour, weekday)
    noise = np.exp(0.3 * _smooth(rng, len(profile)) - 0.045)
    shape = s.shape / burstiness * np.exp(0.4 * _smooth(rng, len(profile)))
    return PiecewiseGamma(Profile(WINDOW, tuple((profile * noise).tolist())), tuple(np.clip(shape, 0.01, 100).tolist()))


def _smooth(rng: np.random.Generator, n: int, minutes: int = 10) -> Floats:
    """Unit Gaussian noise that is correlated over about `minutes` windows."""
    kernel = np.ones(minutes) / np.sqrt(minutes)
    return np.convolve(rng.standard_normal(n + minutes - 1), kernel, mode="valid")


def _conversations(
    s: Stream, process: PiecewiseGamma, n: int, turns: float, think: float, max_context: int, seed: int
) -> Workload:
    def draw(what: str) -> np.random.Generator:
        return stream(seed, "burstgpt", s.model, s.log, what)

    number = max(round(n / turns), 1)
    count = draw("turns").geometric(1 / turns, number)
    first = np.cumsum(count) - count
    text = USER_TEXT.sample(draw("text"), int(count.sum()))
    answer, said, rng = np.zeros_like(text), np.zeros(number, dtype=np.int64), draw("answer")
    for turn in range(int(count.max())):
        alive = np.flatnonzero(count > turn)
        rows = first[alive] + turn
        answer[rows] = response(rng, s.model, said[alive] + text[rows])
        said[alive] += text[rows] + answer[rows]
    begun = process.sample(draw("arrival"), number)
    pause = draw("think").exponential(think, len(text))
    made = conversations(begun, count, text, answer, pause, max_context=max_context)
    return replace(made, tenants=(s.name,))


def _calls(
    s: Stream, process: PiecewiseGamma, n: int, turns: float, think: float, max_context: int, seed: int
) -> Workload:
    prompt = LogNormal(mean=400, cv=1.0, cap=max_context - 1).sample(
        stream(seed, "burstgpt", s.model, s.log, "text"), n
    )
    output = LogNormal(mean=80, cv=1.0, cap=2048).sample(stream(seed, "burstgpt", s.model, s.log, "answer"), n)
    begun = process.sample(stream(seed, "burstgpt", s.model, s.log, "arrival"), n)
    return Workload.of(begun, prompt, output, tenants=(s.name,))


def _failures(sent: Workload, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which requests fail: `share` of them on average, in proportion to how many are sent in the same minute."""
    minute = (sent.arrival // WINDOW).astype(np.int64)
    crowd = np.bincount(minute)[minute]
    return rng.random(len(sent)) < share * crowd / crowd.mean()
