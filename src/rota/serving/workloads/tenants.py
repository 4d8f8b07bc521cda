"""Many clients with characters of their own, after ServeGen (Xiang et al., 2025): few send most, some send in
bursts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.model import Workload
from rota.serving.workloads.arrivals import renewal
from rota.serving.workloads.laws import LogNormal
from rota.serving.workloads.merge import merge


def tenants(
    n: int = 10_000,
    clients: int = 20,
    rate: float = 5.0,
    *,
    skew: float = 1.1,
    cv: float = 1.5,
    cv_spread: float = 0.5,
    prompt: float = 512.0,
    output: float = 256.0,
    spread: float = 0.6,
    urgent: float = 0.0,
    seed: int = 0,
) -> Workload:
    """Requests of `clients` tenants, each with its rate, burstiness and length laws; the whole is their superposition.

    Args:
        n: requests in all.
        clients: tenants, named `client-00`, `client-01`, ... from the busiest.
        rate: requests a second of all together.
        skew: client k's share is proportional to k^-`skew`; 0: equal shares.
        cv: median over clients of the coefficient of variation of their gaps; its logarithm varies by `cv_spread`.
        prompt, output: median over clients of a client's mean tokens; its logarithm varies by `spread`. Within a
            client, lengths are log-normal with coefficient of variation 1.
        urgent: share of the clients whose requests have priority 1.
        seed: root seed.

    Raises:
        InputError: a number out of range.
    """
    if not 1 <= clients <= n:
        raise InputError("tenants(clients=...)", str(clients), f"from 1 to n = {n}")
    for name, value in (("rate", rate), ("cv", cv), ("prompt", prompt), ("output", output)):
        if not value > 0:
            raise InputError(f"tenants({name}=...)", f"{value}", "a number > 0")
    share = np.arange(1, clients + 1.0) ** -skew
    share /= share.sum()
    rng = stream(seed, "tenants", "characters")
    scatter = rng.standard_normal((clients, 3))
    priority = rng.random(clients) < urgent
    parts = []
    for k in range(clients):
        draw = stream(seed, "tenants", k)
        count = round(1.2 * n * share[k]) + 5
        arrival = renewal(draw, rate * share[k], count, cv * np.exp(cv_spread * scatter[k, 0]))
        lengths = [
            LogNormal(m * np.exp(spread * z), 1.0, 8192) for m, z in ((prompt, scatter[k, 1]), (output, scatter[k, 2]))
        ]
        part = Workload.of(arrival, *(law.sample(draw, count) for law in lengths), priority=np.full(count, priority[k]))
        parts.append(replace(part, tenants=(f"client-{k:02d}",)))
    whole = merge(parts, f"{clients} tenants @ {rate:g}")
    return whole.take(np.arange(n))
