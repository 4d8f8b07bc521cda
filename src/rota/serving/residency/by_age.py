"""Placements in which sequences advance together and the oldest tokens leave the GPU first.

Seen from one sequence: positions [0, dropped) are dropped, [dropped, offloaded) are on the host, the rest is on the
GPU.
"""

from __future__ import annotations

import numpy as np

from rota.serving.residency.model import Ints, OfflineBatch, Placement


def window_of(problem: OfflineBatch, ratio: float) -> Ints:
    """(output,) local window k of sparse window attention with caching ratio r: k = round(n * r / 2), n the context.

    Half up, so that the window and as many global tokens cover everything at r = 1.
    """
    return np.floor(problem.context * ratio / 2 + 0.5).astype(np.int64)


def previous(boundary: Ints) -> Ints:
    """The boundary as it stood when each step began (0 before the first)."""
    return np.concatenate([np.zeros_like(boundary[..., :1]), boundary[..., :-1]], axis=-1)


def hits(chosen: Ints, old: Ints, region: Ints, skew: float) -> Ints:
    """How many of `chosen` tokens, picked from `old` ones by attention score, lie among the `region` oldest of those.

    A reconstruction, since scores cannot be simulated from nothing: the oldest share x of the tokens gets the share
    x ** skew of the picks (1: picks are uniform over age; above 1, they favour recent tokens), rounded, and bounded by
    the tokens there are on either side.
    """
    share = (region / np.maximum(old, 1)) ** skew
    return np.clip(
        np.floor(chosen * share + 0.5).astype(np.int64),
        np.maximum(chosen - (old - region), 0),
        np.minimum(chosen, region),
    )


def by_age(
    problem: OfflineBatch, offloaded: Ints, dropped: Ints, *, window: Ints, kv_bits: int = 16, skew: float = 1.0,
    before: tuple[Ints, Ints] | None = None,
) -> Placement:  # fmt: skip
    """The placement that follows from the two boundaries.

    Args:
        problem: what is generated.
        offloaded, dropped: (..., output) positions of a sequence that are off the GPU, and that are nowhere.
        window: (output,) local window; where it covers half of the context or is 0, attention is dense.
        kv_bits: 16 or 8.
        skew: see `hits`.
        before: the boundaries when each step began, where they are not those of the step before (a search evaluates a
            change of phase at every step at once).
    """
    context, step = problem.context, np.arange(problem.output)
    decode, last = (step > 0).astype(np.int64), (step == problem.output - 1).astype(np.int64)
    window = np.where((window == 0) | (2 * window >= context), 0, window)
    old = context - window
    chosen = np.where(window > 0, np.minimum(window, old), old)
    was_off, was_dropped = before or (previous(offloaded), previous(dropped))
    from_dropped = decode * hits(chosen, old, was_dropped, skew)
    from_host = decode * hits(chosen, old, was_off, skew) - from_dropped
    shape = np.broadcast_shapes(offloaded.shape, dropped.shape, was_off.shape, was_dropped.shape)

    def column(each: Ints | int) -> Ints:
        return np.broadcast_to(problem.batch * np.asarray(each, dtype=np.int64), shape)

    return Placement(
        decoding=column(decode), prefill=column((1 - decode) * problem.prompt),
        gpu=column(context - offloaded), cpu=column(offloaded - dropped), dropped=column(dropped),
        attended_gpu=column(decode * (window + chosen) - from_host - from_dropped),
        attended_cpu=column(from_host), attended_dropped=column(from_dropped),
        loaded=column(from_host), kept=column(0), stored=column(offloaded - np.maximum(was_off, dropped)),
        recomputed=column(from_dropped), freed=column(last * (context - offloaded)),
        freed_cpu=column(last * (offloaded - dropped)), window=np.broadcast_to(window, shape), kv_bits=kv_bits,
    )  # fmt: skip
