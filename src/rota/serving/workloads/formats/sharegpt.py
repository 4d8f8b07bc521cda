"""ShareGPT: conversations without times. Lengths are estimated from characters unless a counter is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.workloads.arrivals import renewal
from rota.serving.workloads.formats import Reading
from rota.serving.workloads.sessions import conversations

CHARACTERS_A_TOKEN = 4


def estimate(text: str) -> int:
    """Tokens of an English text, at four characters a token."""
    return max(1, round(len(text) / CHARACTERS_A_TOKEN))


def sharegpt(
    path: Path,
    *,
    rate: float = 1.0,
    think: float = 30.0,
    max_context: int = 8192,
    seed: int = 0,
    count: Callable[[str], int] = estimate,
) -> Reading:
    """Read conversations as sessions with turns; the file has no times, so they are drawn.

    A turn is an answer and all that was said since the answer before. A file that is cut short gives the conversations
    that are whole, and a note.

    Args:
        path: a JSON array of `{"id", "conversations": [{"from", "value"}]}`.
        rate: conversations begun a second (Poisson).
        think: mean seconds between an answer and the next turn (exponential).
        max_context: conversations end before they outgrow this many tokens.
        seed: of the times.
        count: tokens of a text; by default its characters / 4, which is an estimate.
    """
    records, cut = _records(path)
    found = [turns for turns in (_turns(record, count) for record in records) if turns]
    if not found:
        raise InputError(str(path), "no conversation with an answer", 'records {"conversations": [{"from", "value"}]}')
    lengths = np.array([turn for turns in found for turn in turns])
    turn_count = np.array([len(turns) for turns in found])
    begun = renewal(stream(seed, "sharegpt", "begin"), rate, len(found))
    pause = stream(seed, "sharegpt", "think").exponential(think, len(lengths))
    workload = conversations(
        begun, turn_count, lengths[:, 0], lengths[:, 1], pause, max_context=max_context, name=path.stem
    )
    notes = [
        f"arrivals are Poisson at {rate:g} conversations/s and think times exponential, mean {think:g} s: "
        "the file has none"
    ]
    if count is estimate:
        notes.append(f"token counts are estimates: characters / {CHARACTERS_A_TOKEN}")
    if cut:
        notes.append(f"the file is cut short after {len(records)} whole conversations")
    without = len(records) - len(found)
    return Reading(workload, "sharegpt", {"no answer": without} if without else {}, tuple(notes))


def _records(path: Path) -> tuple[list[dict[str, Any]], bool]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        whole = json.loads(text)
        return (whole if isinstance(whole, list) else [whole]), False
    except json.JSONDecodeError:
        return _whole_records(path, text), True


def _whole_records(path: Path, text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    decoder, at = json.JSONDecoder(), text.find("[") + 1
    while True:
        while at < len(text) and text[at] in " \r\n\t,":
            at += 1
        try:
            record, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if not found:
                raise InputError(
                    f"{path}:{error.lineno}", f"broken JSON ({error.msg})", "a JSON array of conversations"
                ) from None
            return found
        found.append(record)


def _turns(record: dict[str, Any], count: Callable[[str], int]) -> list[tuple[int, int]]:
    turns, said = [], 0
    for message in record.get("conversations", []):
        tokens = count(message.get("value", ""))
        if message.get("from") in ("gpt", "chatgpt", "assistant", "bing", "bard") and said:
            turns.append((said, tokens))
            said = 0
        else:
            said += tokens
    return turns
