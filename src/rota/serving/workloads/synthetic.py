"""The plainest workloads: independent gaps and independent lengths. The baseline that richer generators are held
against."""

from __future__ import annotations

from rota.core.seeds import stream
from rota.serving.model import Workload
from rota.serving.workloads.arrivals import renewal
from rota.serving.workloads.laws import Law, law


def gamma(
    rate: float = 1.0,
    n: int = 1000,
    *,
    cv: float = 1.0,
    prompt: int | str | Law = 512,
    output: int | str | Law = 128,
    seed: int = 0,
) -> Workload:
    """Gamma gaps of mean 1/`rate` seconds and coefficient of variation `cv`; prompt and output drawn apart from their
    laws.

    Args:
        rate: requests a second.
        n: requests.
        cv: 1 is Poisson, 0 evenly spaced, larger is burstier.
        prompt, output: law of the token counts: a number, or a spec such as `lognormal(mean=512, cv=1.2)`.
        seed: root seed.
    """
    return Workload.of(
        renewal(stream(seed, "synthetic", "arrival"), rate, n, cv),
        law(prompt).sample(stream(seed, "synthetic", "prompt"), n),
        law(output).sample(stream(seed, "synthetic", "output"), n),
        name=f"gamma @ {rate:g} CV {cv:g}" if cv not in (0, 1) else f"{'poisson' if cv else 'fixed'} @ {rate:g}",
    )


def poisson(
    rate: float = 1.0, n: int = 1000, *, prompt: int | str | Law = 512, output: int | str | Law = 128, seed: int = 0
) -> Workload:
    """A Poisson process of `rate` requests a second; lengths as in `gamma`."""
    return gamma(rate, n, cv=1.0, prompt=prompt, output=output, seed=seed)


def fixed(rate: float = 1.0, n: int = 1000, *, prompt: int = 512, output: int = 128, seed: int = 0) -> Workload:
    """A request of the same lengths every 1/`rate` seconds. The seed changes nothing."""
    return gamma(rate, n, cv=0.0, prompt=prompt, output=output, seed=seed)
