"""One root seed, named streams: adding a consumer of randomness never shifts the draws of another."""

from __future__ import annotations

import hashlib

import numpy as np

from rota.core.errors import InputError


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The random generator that belongs to `names` under the root `seed`.

    Args:
        seed: the root seed of a run, >= 0.
        names: who draws, e.g. `stream(7, "arrivals")` or `stream(7, "policy", 3)`.

    Returns:
        A PCG64 generator; equal arguments give equal draws, on any machine.

    Raises:
        InputError: a negative seed.
    """
    if seed < 0:
        raise InputError("seed", str(seed), "a whole number >= 0")
    digest = hashlib.blake2b("\x1f".join(str(name) for name in names).encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4")
    return np.random.default_rng(np.random.SeedSequence([seed, *words.tolist()]))
