"""Conversations of several turns: each turn waits for the answer to the one before, thinks, and sends the whole history
again."""

from __future__ import annotations

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.model import BLOCK, Floats, Ints, Workload
from rota.serving.workloads.arrivals import EVEN, renewal
from rota.serving.workloads.laws import Law, Quantiles, law

LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
USER_TEXT = Quantiles(LEVELS, (1, 3, 11, 21, 48, 147, 364, 1349, 4096))
ANSWER = Quantiles(LEVELS, (1, 28, 167, 311, 465, 656, 775, 948, 2048))
"""New text of a turn and its answer, tokens: quantiles measured on the 61,420 human and 67,594 model messages of the
first 17,671 conversations of ShareGPT V3 (unfiltered, cleaned), at four characters a token; the last one is a bound set
here."""


def sessions(
    n: int = 1000,
    turns: float = 5.5,
    rate: float = 1.0,
    *,
    cv: float = 1.0,
    think: float = 30.0,
    think_cv: float = 1.0,
    user: int | str | Law = USER_TEXT,
    output: int | str | Law = ANSWER,
    system: int = 0,
    max_context: int = 8192,
    prefix_chunk: int = 64,
    seed: int = 0,
) -> Workload:
    """`n` conversations, one row a turn, rows in order of the arrival they would have if answers took no time.

    The prompt of turn k is everything said before plus new user text, so prompts grow. The prefix hashes of a turn
    cover its prompt and its answer, and begin with those of the turn before it: the whole history is reusable, down to
    whole chunks. The defaults are FastSwitch's multi-round ShareGPT setting (1,000 conversations, 5.5 turns, 1
    conversation a second; the length laws are measured on ShareGPT, the think time is an assumption).

    Args:
        n: conversations.
        turns: mean turns a conversation, geometric from 1.
        rate: conversations begun a second; `cv` is the coefficient of variation of the gaps between their beginnings.
        think: mean seconds between an answer and the next turn, Gamma with coefficient of variation `think_cv`.
        user: law of the new user text of a turn, tokens.
        output: law of the answers, tokens.
        system: tokens of a system prompt that every conversation begins with.
        max_context: a conversation ends before the turn whose prompt and answer would not fit into this many tokens.
        prefix_chunk: tokens a prefix hash covers.
        seed: root seed.

    Raises:
        InputError: a parameter out of range.
    """
    _check(turns, think, system, max_context, prefix_chunk)
    begun = renewal(stream(seed, "sessions", "begin"), rate, n, cv)
    count = stream(seed, "sessions", "turns").geometric(1 / turns, n)
    total = int(count.sum())
    text = law(user).sample(stream(seed, "sessions", "user"), total) + np.where(_position(count) == 0, system, 0)
    answer = law(output).sample(stream(seed, "sessions", "output"), total)
    pause = _pauses(stream(seed, "sessions", "think"), think, think_cv, total)
    name = f"sessions(n={n}, turns={turns:g}, rate={rate:g})"
    return conversations(
        begun, count, text, answer, pause, shared=system, max_context=max_context, prefix_chunk=prefix_chunk, name=name
    )


def conversations(
    begun: Floats,
    count: Ints,
    text: Ints,
    answer: Ints,
    pause: Floats,
    *,
    shared: int = 0,
    max_context: int = 8192,
    prefix_chunk: int = 64,
    name: str = "conversations",
) -> Workload:
    """Conversations from their parts, in which each turn sends all that was said before.

    Args:
        begun: (c,) when each conversation begins, seconds, ascending.
        count: (c,) turns of each.
        text: (sum of count,) new prompt tokens of each turn, conversation by conversation; the first includes what is
            shared.
        answer: (sum of count,) output tokens.
        pause: (sum of count,) seconds of thought before each turn; that of a first turn is ignored.
        shared: tokens that all conversations begin with.
        max_context: a conversation ends before the turn whose prompt and answer would not fit into this many tokens; a
            first turn is cut to fit.
        prefix_chunk: tokens a prefix hash covers.
        name: of the workload.
    """
    session = np.repeat(np.arange(len(count)), count)
    turn = _position(count)
    text = np.where(turn == 0, np.minimum(text, max_context - 1), text)
    answer = np.where(turn == 0, np.minimum(answer, max_context - text), answer)
    pause = np.where(turn == 0, 0.0, pause)
    context = _running_sum(text + answer, count)
    arrival = begun[session] + _running_sum(pause, count)
    order = np.lexsort((turn, session, arrival))
    rows = order[context[order] <= max_context]
    place = np.full(len(session), -1)
    place[rows] = np.arange(len(rows))
    start, hashes = prefix_chains(context[rows], session[rows], shared, prefix_chunk)
    return Workload.of(
        arrival[rows], (context - answer)[rows], answer[rows], session=session[rows], turn=turn[rows],
        parent=np.where(turn[rows] > 0, place[rows - 1], -1), think=pause[rows], prefix_start=start, prefix_hash=hashes,
        prefix_chunk=prefix_chunk, name=name,
    )  # fmt: skip


def prefix_chains(context: Ints, session: Ints, shared: int, chunk: int) -> tuple[Ints, Ints]:
    """Prefix hashes of requests whose text is the beginning of their session's text.

    Args:
        context: (n,) tokens of the session's text that each request covers, prompt and answer.
        session: (n,) whose text; sessions are counted from 0.
        shared: tokens that all sessions begin with.
        chunk: tokens a hash covers.

    Returns:
        (n + 1,) starts and the hashes, as in `Workload.prefix_start` and `prefix_hash`.
    """
    length = context // chunk
    start = np.concatenate([[0], np.cumsum(length)])
    longest = np.zeros(int(session.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(longest, session, length)
    base = shared // chunk + np.cumsum(longest) - longest
    place = np.arange(start[-1]) - np.repeat(start[:-1], length)
    return start, np.where(place < shared // chunk, place, np.repeat(base[session], length) + place)


def _check(turns: float, think: float, system: int, max_context: int, prefix_chunk: int) -> None:
    if not turns >= 1:
        raise InputError("turns", f"{turns}", "a mean of at least 1")
    if not think >= 0:
        raise InputError("think", f"{think}", "a number of seconds >= 0")
    if not 0 <= system < max_context:
        raise InputError("system", f"{system}", f"tokens from 0 to max_context = {max_context}")
    if prefix_chunk < BLOCK or prefix_chunk % BLOCK:
        raise InputError("prefix_chunk", f"{prefix_chunk}", f"a multiple of {BLOCK}")


def _position(count: Ints) -> Ints:
    return np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)


def _running_sum(values: np.ndarray, count: Ints) -> np.ndarray:
    total = np.cumsum(values)
    before = np.concatenate([[0], total])[np.cumsum(count) - count]
    return total - np.repeat(before, count)


def _pauses(rng: np.random.Generator, mean: float, cv: float, size: int) -> np.ndarray:
    if cv < EVEN or mean == 0:
        return np.full(size, float(mean))
    return rng.gamma(1 / cv**2, mean * cv**2, size)
