"""BurstGPT: real traffic comes in bursts, can be modelled window by window, and hurts more than its mean rate says.

Two experiments. Fidelity: fit public traces (Azure 2023, Mooncake), regenerate them, and measure Kolmogorov-Smirnov
distances, beside a Poisson process with independent log-normal lengths of the same means and variations. Harm: the same
requests, once at their bursty arrivals and once at Poisson arrivals of the same mean rate, on a simulated fleet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rota.core.data import data_folder
from rota.core.seeds import stream
from rota.core.stats import Interval, mean_interval, paired_difference
from rota.reproduce.claims import Claim, Stated, verdict
from rota.serving.model import Fleet, Workload
from rota.serving.presets import preset
from rota.serving.simulate import simulate
from rota.serving.workloads import by_name, read, stats
from rota.serving.workloads.fit import fit
from rota.serving.workloads.goodness import goodness
from rota.serving.workloads.laws import LogNormal
from rota.serving.workloads.synthetic import poisson

PAPER = (
    "Wang et al., BurstGPT: A Real-World Workload Dataset to Optimize LLM Serving Systems, KDD 2025 (arXiv 2401.17644)"
)

TRACES = {
    "azure-conv": "azure_2023_conv.csv",
    "azure-code": "azure_2023_code.csv",
    "mooncake-conv": "mooncake_conversation.jsonl",
    "mooncake-synthetic": "mooncake_synthetic.jsonl",
}
NEAR = 0.05
"""Kolmogorov-Smirnov distance up to which a regenerated distribution counts as the same."""

PATIENCE = 10.0
"""Seconds without a first token after which a client would have given up: counted as a failure, though served to the
end."""


@dataclass(frozen=True)
class Scenario:
    """A bursty workload on a fleet that its mean rate does not overload."""

    workload: str
    instances: int


SCENARIOS = {
    "code": Scenario("azure-2023-code(rate=10, n={n})", 4),
    "conv": Scenario("azure-2023-conv(rate=13, n={n})", 4),
    "generator": Scenario("burstgpt(rate=3, n={n}, turns=1.0)", 1),
}
KIND = "llama-2-13b/a100"

MODELLED = "BurstGPT-Perf, modelled mode: Gamma(alpha(t), beta(t)) per 60 s"
EVALUATION = "evaluation of serving systems under real against synthetic load"
FAILING = "analysis of failures, by service"
SAME_GAPS = "Gamma gaps with parameters held for 60 s reproduce those of {} (KS distance)"
MORE_OF_IT = "A fitted generator makes more of a trace (worst KS distance of gaps, prompts, outputs)"
SLOWER = "At one mean rate, bursts raise P99 TTFT over Poisson: {} (ratio)"
PREEMPTED = "At one mean rate, bursts cause more preemptions than Poisson (per run)"
LOST = "Bursts make requests fail that Poisson arrivals would not (share)"

CLAIMS: tuple[Stated, ...] = (
    *(Stated(f"gamma-{name}", MODELLED, SAME_GAPS.format(file)) for name, file in TRACES.items()),
    Stated("regenerate", MODELLED, MORE_OF_IT),
    *(Stated(f"ttft-p99-{name}", EVALUATION, SLOWER.format(name), "rises") for name in SCENARIOS),
    Stated("preemptions-conv", EVALUATION, PREEMPTED, "rises"),
    Stated("failures-code", FAILING, LOST, "> 5 % in places"),
    Stated("real-failures", "BurstGPT_1, rows without response", "A share of real requests fails", "1.8 %"),
)


def run(seeds: int = 5, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[Claim]:
    """Measure the claims; fidelity needs the original traces, harm runs on the fitted models that come with the
    package."""
    say = progress or (lambda line: None)
    stated = {claim.id: claim for claim in CLAIMS}
    claims = [*_fidelity(stated, seeds, say), *_harm(stated, seeds, 2000 if quick else 6000, say)]
    return [
        *claims,
        stated["real-failures"].not_shown("the trace itself is not at hand; the generator takes the share as given"),
    ]


def _fidelity(stated: Mapping[str, Stated], seeds: int, say: Callable[[str], None]) -> list[Claim]:
    folder = data_folder()
    ids = [*(f"gamma-{name}" for name in TRACES), "regenerate"]
    if folder is None or not all((folder / "traces" / file).is_file() for file in TRACES.values()):
        return [stated[i].not_shown("the original traces are not on this machine (set ROTA_DATA)") for i in ids]
    claims, best, plain = [], [], []
    for name, file in TRACES.items():
        say(f"fitting {file}")
        trace = read(folder / "traces" / file)
        distances = {kind: _distances(trace, kind, seeds) for kind in ("gamma", "best", "poisson")}
        gamma, own, memoryless = (mean_interval(distances[kind][:, 0]) for kind in ("gamma", "best", "poisson"))
        baseline = {"poisson": memoryless.value, "rota fit": own.value}
        found = verdict(_span(gamma), at_most=NEAR)
        claims.append(
            stated[f"gamma-{name}"].measured(gamma.value, _span(gamma), found, baseline=baseline, differs=_TRACE)
        )
        best.append(distances["best"].max(axis=1))
        plain.append(distances["poisson"].max(axis=1))
    worst = mean_interval(np.max(best, axis=0))
    baseline = {"poisson + independent log-normal": float(np.mean(np.max(plain, axis=0)))}
    found = verdict(_span(worst), at_most=NEAR)
    return [*claims, stated["regenerate"].measured(worst.value, _span(worst), found, baseline=baseline, differs=_TRACE)]


_TRACE = "Azure and Mooncake traces of an hour or less, not BurstGPT's own months"
_FLEET = (
    f"simulated {KIND} instances, dispatch by least requests; arrivals from fitted models, lengths equal in both arms"
)


def _distances(trace: Workload, kind: str, seeds: int) -> np.ndarray:
    """(seeds, 3) KS distances of gaps, prompts and outputs."""
    if kind == "poisson":
        again = [_plain(trace, seed) for seed in range(seeds)]
    else:
        model = fit(trace, arrivals=kind, window=60.0)
        again = [model.generate(seed=seed) for seed in range(seeds)]
    found = [goodness(trace, made) for made in again]
    return np.array([(g.ks_gap, g.ks_prompt, g.ks_output) for g in found])


def _plain(trace: Workload, seed: int) -> Workload:
    """The usual synthetic load: Poisson, and independent log-normal lengths of the right mean and variation."""
    prompt, output = (LogNormal(float(v.mean()), stats.variation(v)) for v in (trace.prompt, trace.output))
    return poisson(trace.rate, len(trace), prompt=prompt, output=output, seed=seed)


def memoryless(workload: Workload, seed: int) -> Workload:
    """The same requests at uniformly random arrivals over the same span: a Poisson process of the same mean rate."""
    own = workload.parent < 0
    arrival = workload.arrival.copy()
    first, last = arrival[own][[0, -1]]
    arrival[own] = first + np.sort(stream(seed, "memoryless").random(own.sum())) * (last - first)
    return replace(workload, arrival=arrival)


def _harm(stated: Mapping[str, Stated], seeds: int, n: int, say: Callable[[str], None]) -> list[Claim]:
    figures = {}
    for name, scenario in SCENARIOS.items():
        say(f"simulating {name}: bursts against Poisson")
        figures[name] = np.array([_both(scenario, n, seed) for seed in range(seeds)])
    claims = [_ratio(stated[f"ttft-p99-{name}"], figures[name][:, :, 0]) for name in SCENARIOS]
    return [
        *claims,
        _more(stated["preemptions-conv"], figures["conv"][:, :, 1], _FLEET),
        _more(
            stated["failures-code"], figures["code"][:, :, 2], f"{_FLEET}; failed: no first token within {PATIENCE:g} s"
        ),
    ]


def _both(scenario: Scenario, n: int, seed: int) -> list[tuple[float, float, float]]:
    """P99 TTFT (s), preemptions and share of failures, with bursts and without."""
    fleet = Fleet.of(preset(KIND), scenario.instances)
    bursty = by_name(scenario.workload.format(n=n), seed)
    runs = [simulate(fleet, w, {"dispatch": "least-requests"}, seed) for w in (bursty, memoryless(bursty, seed))]
    return [
        (r.metrics["ttft_p99"], r.metrics["preemptions"], float((r.requests["ttft"] > PATIENCE).mean())) for r in runs
    ]


def _ratio(claim: Stated, ttft: np.ndarray) -> Claim:
    ratio = mean_interval(np.log(ttft[:, 0] / ttft[:, 1]))
    low, high = np.exp(ratio.low), np.exp(ratio.high)
    baseline = {"poisson": float(ttft[:, 1].mean()), "bursts": float(ttft[:, 0].mean())}
    found = verdict((float(low), float(high)), at_least=1.0)
    differs = f"{_FLEET}; baseline: P99 TTFT in seconds"
    return claim.measured(
        float(np.exp(ratio.value)), (float(low), float(high)), found, baseline=baseline, differs=differs
    )


def _more(claim: Stated, both: np.ndarray, differs: str) -> Claim:
    """The figure under bursts; the claim holds if it is above the figure under Poisson, seed by seed."""
    bursts, excess = mean_interval(both[:, 0]), paired_difference(both[:, 0], both[:, 1])
    found = verdict(_span(excess), at_least=0.0) if excess.value != 0 else "does not hold"
    return claim.measured(
        bursts.value, _span(bursts), found, baseline={"poisson": float(both[:, 1].mean())}, differs=differs
    )


def _span(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
