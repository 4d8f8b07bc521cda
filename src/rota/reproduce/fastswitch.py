"""FastSwitch: what changing priorities cost, and what block groups, asynchronous copies and reuse take off that.

One instance serves 1,000 conversations of 5.5 turns while priorities change every 1/f iterations (traces Random and
Markov). LLaMA-3-8B on an A10 runs at f = .01 to .04, Qwen-32B on an A100 at f = .02, as in the paper; 60 GB of CPU
memory each. The step costs are those of the roofline presets. The paper's 1 conversation a second is several times what
these instances can serve with texts as long as ShareGPT's; here arrivals are stretched until they ask for a stated
multiple of what the KV memory can hold, the same for every seed. The load matters: at the knee per-block swapping alone
collapses and the gains are many times larger; far beyond it queues hide everything and they are smaller.

Three choices are ours, made with results in sight, not the paper's: the loads (1.6 and 1.3 times), one stream for copies
both ways (with one stream each way copies out are hidden, and reuse saves bytes but hardly any time), and the mean TTFT
as the measure of the ablation (tails vary too much between seeds to tell the smaller steps apart).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rota.core.results import Results
from rota.core.stats import Interval, mean_interval
from rota.core.study import Cell, run_study
from rota.reproduce.claims import Claim, Stated, verdict
from rota.serving.model import BLOCK, Instance, Workload
from rota.serving.preemptive import simulate_preemptive
from rota.serving.presets import preset
from rota.serving.workloads.sessions import sessions

PAPER = "FastSwitch: Optimizing Context Switching Efficiency in Fairness-aware LLM Serving (arXiv 2411.18424)"

LADDER = ("per-block", "block-groups", "asynchronous", "reuse")
ENDS = (LADDER[0], LADDER[-1])
SIMPLE = {"sorted, coalesced": "per-block(coalesce=True)", "recompute": "recompute"}
TRACES = ("random", "markov")
TAILS = {"p95": "P95", "p99": "P99", "p999": "P99.9"}
BAND = (1.4, 5.8)
CPU_BYTES = 60e9
PCIE = 32e9


@dataclass(frozen=True)
class Setting:
    """A model and GPU of the paper: preset, load, update frequencies, the one the paper reports."""

    name: str
    preset: str
    load: float
    frequencies: tuple[float, ...]
    reported: float


Places = Sequence[tuple[Setting, str, float]]
"""Settings, traces and frequencies over which a gain is averaged."""

A10 = Setting("llama-8b", "llama-3-8b/a10", 1.6, (0.01, 0.02, 0.03, 0.04), 0.04)
A100 = Setting("qwen-32b", "qwen-32b/a100", 1.3, (0.02,), 0.02)

DIFFERS = "simulated on roofline costs, 5 us a copy call assumed; arrivals ask for {load:g} times the KV memory"


def _ttft_claims(setting: Setting) -> Iterator[Stated]:
    for trace in TRACES:
        for tail, shown in TAILS.items():
            statement = f"{shown} TTFT is 1.4 to 5.8 times shorter than vLLM's ({setting.preset}, {trace} trace)."
            yield Stated(f"ttft-{tail}-{setting.name}-{trace}", "abstract and evaluation, TTFT", statement, "1.4-5.8x")


CLAIMS: tuple[Stated, ...] = (
    *_ttft_claims(A10),
    *_ttft_claims(A100),
    Stated(
        "tbt-p999",
        "abstract, TBT",
        "P99.9 time between tokens is up to 11.2 times shorter (llama-3-8b/a10).",
        "1.4-11.2x",
    ),
    Stated(
        "throughput-llama-8b", "evaluation, throughput", "Throughput rises, by up to 1.44 times (llama-3-8b/a10).", 1.44
    ),
    Stated(
        "throughput-qwen-32b", "evaluation, throughput", "Throughput rises, by up to 1.44 times (qwen-32b/a100).", 1.44
    ),
    Stated(
        "groups",
        "ablation",
        "Block groups shorten the mean TTFT against per-block copies, over all traces and frequencies.",
    ),
    Stated("asynchronous", "ablation", "Asynchronous copies shorten it further."),
    Stated("reuse", "ablation", "Reuse of CPU copies shortens it further."),
    Stated("reuse-bytes", "KV cache reuse", "Reuse of CPU copies cuts the bytes that are copied out."),
    Stated(
        "frequency", "evaluation, update frequency", "The gain grows with the frequency of updates (0.01 against 0.04)."
    ),
    Stated(
        "stall",
        "motivation",
        "Swapping keeps the engine standing for much of the time: up to 59.9 % of P99 latency.",
        "59.9 %",
    ),
)
STATED = {claim.id: claim for claim in CLAIMS}


def instance(name: str) -> Instance:
    """The preset with the paper's link (PCIe 4.0 x16, 32 GB/s each way) and CPU memory (60 GB), prompts run whole."""
    kind = preset(name)
    swap = replace(kind.swap, bandwidth=PCIE)
    return replace(kind, prefill="whole", swap=swap, cpu_blocks=int(CPU_BYTES / (16 * kind.kv_bytes)))


def sustained_rate(kind: Instance, workload: Workload) -> float:
    """Requests a second whose decode steps, and nothing else, would keep the KV memory exactly full.

    A request holds prompt + output / 2 tokens on average, for as many steps as it has output tokens.
    """
    room = kind.blocks * BLOCK
    held = workload.output * (workload.prompt + workload.output / 2)
    batch = round(room * float(workload.output.sum()) / float(held.sum()))
    return room / (float(held.mean()) * kind.cost.step(batch, room))


def execute(spec: Mapping[str, Any]) -> dict[str, Any]:
    """One cell: a preset, a swap mechanism, a trace, a frequency and a seed."""
    kind, workload = instance(spec["preset"]), sessions(spec["conversations"], seed=spec["seed"])
    workload = workload.at_rate(spec["load"] * sustained_rate(kind, workload))
    run = simulate_preemptive(kind, workload, spec["swap"], spec["trace"], spec["frequency"], spec["seed"])
    return {"metrics": run.metrics}


def cells(seeds: int, quick: bool) -> list[Cell]:
    """The ladder at every frequency on the A10, whole FastSwitch against the rest on the A100.

    `quick`: 200 conversations, the A10 alone, the ladder at the reported frequency only.
    """
    places: list[tuple[Setting, tuple[str, ...], float]]
    places = [(A10, LADDER if f == A10.reported or not quick else ENDS, f) for f in A10.frequencies]
    chosen = [place for place in places if not quick or place[2] in (A10.frequencies[0], A10.reported)]
    chosen += [] if quick else [(A100, ENDS, A100.reported)]
    chosen += [(setting, tuple(SIMPLE.values()), setting.reported) for setting in ((A10,) if quick else (A10, A100))]
    return [
        _cell(setting, swap, trace, frequency, seed, 200 if quick else 1000)
        for seed in range(seeds) for setting, swaps, frequency in chosen for swap in swaps for trace in TRACES
    ]  # fmt: skip


def run(seeds: int = 5, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[Claim]:
    """Measure every claim; those of the A100 are left out if `quick`."""
    if progress:
        progress("FastSwitch: swap mechanisms, traces and update frequencies")
    study = run_study(
        "fastswitch", cells(seeds, quick), "rota.reproduce.fastswitch:execute", progress=progress is not None
    )
    return judged(study)


def judged(results: Results) -> list[Claim]:
    """Every claim, from the cells that were run."""
    outcome = _Outcome(results)
    found = [
        *_tails(outcome),
        *_throughput(outcome),
        _between_tokens(outcome),
        *_ablation(outcome),
        _frequency(outcome),
        _stall(outcome),
    ]
    measured = {claim.id: claim for claim in found}
    return [measured.get(claim.id) or claim.not_shown("not run with --quick") for claim in CLAIMS]


class _Outcome:
    """Ratios between swap mechanisms, paired by seed: geometric means with t-intervals of their logarithms."""

    def __init__(self, results: Results) -> None:
        self.rows = {self._key(row.labels): row.metrics for row in results}

    def values(self, metric: str, setting: Setting, swap: str, trace: str, frequency: float) -> np.ndarray:
        """(seeds,) values of a metric."""
        chosen = (setting.name, swap, trace, frequency)
        found = [(key[4], metrics[metric]) for key, metrics in self.rows.items() if key[:4] == chosen]
        return np.array([value for _, value in sorted(found)])

    def logs(self, metric: str, places: Places, slow: str, fast: str) -> np.ndarray:
        """(seeds,) logarithm of how many times smaller the metric is with `fast` than `slow`, mean over the places."""
        each = [np.log(self.values(metric, s, slow, t, f) / self.values(metric, s, fast, t, f)) for s, t, f in places]
        return np.mean(each, axis=0)

    def gain(self, metric: str, places: Places, slow: str = "per-block", fast: str = "reuse") -> Interval:
        """How many times smaller the metric is with `fast` than with `slow`."""
        return _exp(mean_interval(self.logs(metric, places, slow, fast)))

    def reported(self) -> list[Setting]:
        """The settings that were run."""
        return [s for s in (A10, A100) if any(key[0] == s.name for key in self.rows)]

    def ladder(self) -> list[tuple[Setting, str, float]]:
        """Traces and frequencies at which every rung was run."""
        found = sorted({float(key[3]) for key in self.rows if key[:2] == (A10.name, LADDER[1])})
        return [(A10, trace, frequency) for trace in TRACES for frequency in found]

    @staticmethod
    def _key(labels: Mapping[str, str | int]) -> tuple[Any, ...]:
        return labels["setting"], labels["swap"], labels["trace"], float(labels["frequency"]), labels["seed"]


def _cell(setting: Setting, swap: str, trace: str, frequency: float, seed: int, conversations: int) -> Cell:
    labels: dict[str, str | int]
    labels = {"setting": setting.name, "swap": swap, "trace": trace, "frequency": f"{frequency:g}", "seed": seed}
    spec = {"preset": setting.preset, "swap": swap, "trace": trace, "frequency": frequency, "seed": seed}
    return Cell(labels, {**spec, "conversations": conversations, "load": setting.load})


def _tails(outcome: _Outcome) -> Iterator[Claim]:
    for setting in outcome.reported():
        for trace in TRACES:
            for tail in TAILS:
                place = [(setting, trace, setting.reported)]
                yield _gain(outcome, f"ttft-{tail}-{setting.name}-{trace}", f"ttft_{tail}", place, BAND)


def _throughput(outcome: _Outcome) -> Iterator[Claim]:
    for setting in outcome.reported():
        places = [(setting, trace, setting.reported) for trace in TRACES]
        yield _gain(outcome, f"throughput-{setting.name}", "makespan", places, (1.0, np.inf))


def _between_tokens(outcome: _Outcome) -> Claim:
    return _gain(outcome, "tbt-p999", "tbt_p999", [(A10, trace, A10.reported) for trace in TRACES], (1.4, 11.2))


def _gain(outcome: _Outcome, claim: str, metric: str, places: Places, band: tuple[float, float]) -> Claim:
    """FastSwitch against per-block swapping; beside it, the same gain of the simple alternatives."""
    simple = {name: outcome.gain(metric, places, fast=swap).value for name, swap in SIMPLE.items()}
    return _judged(claim, outcome.gain(metric, places), band, places[0][0], simple)


def _ablation(outcome: _Outcome) -> Iterator[Claim]:
    places = outcome.ladder()
    for slow, fast, claim in zip(LADDER, LADDER[1:], ("groups", "asynchronous", "reuse"), strict=False):
        simple = _sorted_lists(outcome) if claim == "groups" else None
        yield _judged(claim, outcome.gain("ttft_mean", places, slow, fast), (1.0, np.inf), A10, simple)
    yield _judged("reuse-bytes", outcome.gain("bytes_out", places, "asynchronous", "reuse"), (1.0, np.inf), A10)


def _sorted_lists(outcome: _Outcome) -> dict[str, float]:
    """What sorted free lists with coalesced copies gain where they were run, and what groups gain there."""
    places = [(A10, trace, A10.reported) for trace in TRACES]
    shown = {f"sorted, coalesced at f={A10.reported:g}": SIMPLE["sorted, coalesced"], "groups there": LADDER[1]}
    return {name: outcome.gain("ttft_mean", places, fast=swap).value for name, swap in shown.items()}


def _frequency(outcome: _Outcome) -> Claim:
    seldom, often = (
        outcome.logs("ttft_p99", [(A10, trace, frequency) for trace in TRACES], *ENDS)
        for frequency in (A10.frequencies[0], A10.reported)
    )
    return _judged("frequency", _exp(mean_interval(often - seldom)), (1.0, np.inf), A10)


def _stall(outcome: _Outcome) -> Claim:
    share = {
        swap: mean_interval(np.concatenate([outcome.values("stall_share", A10, swap, t, A10.reported) for t in TRACES]))
        for swap in ENDS
    }  # fmt: skip
    differs = "the share of all time that the engine stands still, not of P99 latency; " + DIFFERS.format(load=A10.load)
    before, after = share.values()
    return STATED["stall"].measured(
        before.value, before[1:3], "not shown here", baseline={"FastSwitch": after.value}, differs=differs
    )


def _judged(
    claim: str,
    found: Interval,
    band: tuple[float, float],
    setting: Setting,
    baseline: Mapping[str, float] | None = None,
) -> Claim:
    says = verdict(found[1:3], at_least=band[0], at_most=band[1])
    differs = DIFFERS.format(load=setting.load)
    return STATED[claim].measured(found.value, found[1:3], says, baseline=baseline, differs=differs)


def _exp(interval: Interval) -> Interval:
    value, low, high = (float(np.exp(x)) for x in interval[:3])
    return Interval(value, low, high, interval.n)
