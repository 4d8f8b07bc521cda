"""CASTILLO: the length of a response is random even for one prompt; what can a scheduler make of its distribution?

The paper measures distributions of response lengths and proposes no scheduler. Its data cannot be downloaded here, and
making more with a real model needs the engine. So the experiments run on SYNTHETIC requests of the data set's shape,
whose law is known: that gives what real data cannot, the exact noise floor. One simulated engine serves them from
first-come to shortest-predicted order, with predictors of rising quality:

    fcfs          no prediction
    histogram     tenant and prompt size, learnt from an earlier workload
    ten-samples   ten earlier responses to the very prompt, which is what CASTILLO records
    law           the true distribution (oracle)
    draw          the very length that will come (oracle)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from rota.core.errors import optional
from rota.core.registry import make
from rota.core.seeds import stream
from rota.core.stats import Interval, mean_interval
from rota.reproduce.claims import Claim, Stated, verdict
from rota.serving.lengths import Features, LengthDistribution, LengthPredictor
from rota.serving.lengths.scores import score
from rota.serving.lengths.synthetic import SyntheticLengths
from rota.serving.model import Fleet, Instance, Workload
from rota.serving.presets import preset
from rota.serving.simulate import simulate

PAPER = (
    "Perez-Ramirez, Kostic, Boman, CASTILLO: Characterizing Response Length Distributions of Large Language Models, "
    "2025 (arXiv 2505.16881)"
)

LOADS = {"busy": 0.44, "rush": 0.6}
"""Requests a second: about 0.9 and 1.2 times what the engine can serve."""

NOISE = (0.1, 0.9)
"""Least and greatest share of the unexplained variance that is sampling noise."""

HOPE = "abstract: predictive models for proactive scheduling (no experiment in the paper)"
FOUND = "abstract: variability under identical generation settings"
THEORY = "queueing theory, not the paper"
CLAIMS: tuple[Stated, ...] = (
    Stated("variation", FOUND, "Responses of one model to one prompt vary in length (CV)", "<= 45 %"),
    Stated("ttft-busy", HOPE, "Predicted lengths shorten mean TTFT at 0.9 of capacity (FCFS over histogram)"),
    Stated("ttft-rush", HOPE, "Predicted lengths shorten mean TTFT at 1.2 of capacity (FCFS over histogram)"),
    Stated("flow-time", HOPE, "Predicted lengths shorten mean time to the last token, at 1.2 (FCFS over histogram)"),
    Stated("quality", HOPE, "Each step to a better prediction shortens mean TTFT, at 1.2 (least ratio of a step)"),
    Stated("ten-samples", FOUND, "Ten samples of a prompt stand for its law (share of the law's gain in mean TTFT)"),
    Stated("noise-floor", FOUND, "No predictor beats the noise floor (least CRPS of a learnt one over the law's)"),
    Stated("bounded-gain", FOUND, "Noise bounds the gain in mean TTFT (the law's, as a share of the draw's)"),
    Stated("noise-costs", FOUND, "The more of the variance is noise, the less of the draw's gain is left (difference)"),
    Stated("ttft-p99", THEORY, "Serving the shortest first also lowers P99 TTFT, at 1.2 (FCFS over law)"),
    Stated("gittins", THEORY, "The Gittins index beats the shortest mean in mean TTFT, both by the law (ratio)"),
)  # fmt: skip

DATA = "SYNTHETIC lengths (the data set could not be downloaded here)"
ENGINE = f"{DATA}; simulated llama-7b/a10 with 96,000 tokens of KV and 16 sequences"
LADDER = ("fcfs", "histogram", "ten-samples", "law", "draw")
BEATS = 1.001
"""Ratio from which one rule counts as better than another that often orders alike."""

LEARNT = ("constant", "histogram", "nearest-neighbours", "quantile-boosting")


def run(seeds: int = 5, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[Claim]:
    """Measure the claims; about two minutes for five seeds."""
    optional("scipy")
    say = progress or (lambda line: None)
    stated = {claim.id: claim for claim in CLAIMS}
    count = 600 if quick else 2000
    loads = {load: _runs(seeds, count, rate, say, load) for load, rate in LOADS.items()}
    say("scoring predictors")
    scores = [_scores(count, seed) for seed in range(seeds)]
    noisy = [_runs(seeds, count, LOADS["rush"], say, f"noise share {share}", share) for share in NOISE]
    return [
        stated["variation"].not_shown("needs the data set; the synthetic lengths were made to vary by 15-40 %"),
        *_gains(stated, loads), *_quality(stated, loads["rush"]), _floor(stated["noise-floor"], scores),
        *_bounds(stated, loads["rush"], noisy), *_doubts(stated, loads["rush"]),
    ]  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A history to learn from, the requests to serve, and the law of their lengths."""

    history: Workload
    workload: Workload
    law: Sequence[LengthDistribution]
    seed: int

    @classmethod
    def of(cls, count: int, rate: float, seed: int, noise_share: float | None = None) -> Scene:
        """`count` requests, `rate` a second, and as many earlier ones, drawn from `seed`."""
        source = SyntheticLengths(noise_share=noise_share)
        history, _ = source.workload(count, rate, seed=10_000 + seed)
        workload, law = source.workload(count, rate, seed=seed)
        return cls(history, workload, law, seed)

    def predictor(self, name: str) -> LengthPredictor:
        """One rung of the ladder, or a learnt predictor by its name."""
        if name == "draw":
            return _oracle("oracle-sample", self.workload)
        if name in ("law", "ten-samples"):
            return _oracle("oracle-distribution", self.workload, self.law if name == "law" else self._ten_samples())
        learnt: LengthPredictor = make("serving.lengths", name).fit(Features.of(self.history), self.history.output)
        return learnt

    def _ten_samples(self) -> list[LengthDistribution]:
        rng = stream(self.seed, "castillo", "ten samples")
        return [LengthDistribution.of(one.samples(rng, 10)) for one in self.law]

    def serve(self, name: str, order: str = "shortest-predicted") -> Mapping[str, float]:
        """Metrics of one run."""
        policies = {"order": "fcfs"} if name == "fcfs" else {"order": order, "lengths": self.predictor(name)}
        return simulate(Fleet.of(_engine(), 1), self.workload, policies, seed=self.seed).metrics


Figures = dict[str, np.ndarray]
"""(seeds,) values of one metric, by rung of the ladder."""


def _runs(
    seeds: int, count: int, rate: float, say: Callable[[str], None], label: str, noise_share: float | None = None
) -> dict[str, Figures]:
    """Figures by metric: every rung at every seed."""
    arms: dict[str, Callable[[Scene], Mapping[str, float]]] = {name: partial(Scene.serve, name=name) for name in LADDER}
    arms["gittins"] = partial(Scene.serve, name="law", order="gittins")
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in arms}
    for seed in range(seeds):
        say(f"{label}: seed {seed + 1} of {seeds}")
        scene = Scene.of(count, rate, seed, noise_share)
        for name, serve in arms.items():
            found[name].append(serve(scene))
    metrics = ("ttft_mean", "ttft_p99", "e2e_mean")
    return {metric: {name: np.array([m[metric] for m in runs]) for name, runs in found.items()} for metric in metrics}


def _scores(count: int, seed: int) -> dict[str, float]:
    """CRPS of every learnt predictor and of the law, on the same requests, tokens."""
    scene = Scene.of(count, 1.0, seed)
    views = list(scene.workload.requests())
    found = {}
    for name in (*LEARNT, "law"):
        answers = [view.predicted for view in scene.predictor(name).annotate(views)]
        found[name] = score(answers, scene.workload.output).crps  # type: ignore[arg-type]
    return found


def _gains(stated: Mapping[str, Stated], loads: Mapping[str, Mapping[str, Figures]]) -> list[Claim]:
    asked = [(f"ttft-{load}", runs["ttft_mean"]) for load, runs in loads.items()]
    asked.append(("flow-time", loads["rush"]["e2e_mean"]))
    return [_at_least(stated[i], mean_interval(x["fcfs"] / x["histogram"]), 1.0, _means(x, "fcfs")) for i, x in asked]


def _quality(stated: Mapping[str, Stated], rush: Mapping[str, Figures]) -> list[Claim]:
    ttft = rush["ttft_mean"]
    steps = [mean_interval(ttft[worse] / ttft[better]) for worse, better in pairwise(LADDER)]
    least = min(steps, key=lambda step: step.low)
    share = mean_interval((ttft["fcfs"] - ttft["ten-samples"]) / (ttft["fcfs"] - ttft["law"]))
    histogram = {"histogram": float(np.mean((ttft["fcfs"] - ttft["histogram"]) / (ttft["fcfs"] - ttft["law"])))}
    return [
        _at_least(stated["quality"], least, 1.0, _means(ttft, *LADDER)),
        _at_least(stated["ten-samples"], share, 0.8, histogram),
    ]


def _floor(stated: Stated, scores: Sequence[Mapping[str, float]]) -> Claim:
    ratios = {name: mean_interval([s[name] / s["law"] for s in scores]) for name in LEARNT}
    best = min(ratios.values(), key=lambda ratio: ratio.value)
    return _at_least(stated, best, 1.0, {name: ratio.value for name, ratio in ratios.items()}, DATA)


def _bounds(
    stated: Mapping[str, Stated], rush: Mapping[str, Figures], noisy: Sequence[dict[str, Figures]]
) -> list[Claim]:
    found = mean_interval(_share(rush, "law"))
    bounded = stated["bounded-gain"].measured(
        found.value, (found.low, found.high), verdict((found.low, found.high), at_most=1.0),
        baseline={"histogram": float(_share(rush, "histogram").mean())}, differs=ENGINE,
    )  # fmt: skip
    little, much = (_share(runs, "law") for runs in noisy)
    left = {f"noise share {share}": float(x.mean()) for share, x in zip(NOISE, (little, much), strict=True)}
    return [bounded, _at_least(stated["noise-costs"], mean_interval(little - much), 0.0, left)]


def _doubts(stated: Mapping[str, Stated], rush: Mapping[str, Figures]) -> list[Claim]:
    p99, ttft = rush["ttft_p99"], rush["ttft_mean"]
    starved = f"{ENGINE}; the longest requests wait for all others, FCFS is the better rule for the tail"
    alike = f"{ENGINE}; it never interrupts a running request, and on these laws the two orders nearly coincide"
    return [
        _at_least(stated["ttft-p99"], mean_interval(p99["fcfs"] / p99["law"]), 1.0, _means(p99, "fcfs"), starved),
        _at_least(stated["gittins"], mean_interval(ttft["law"] / ttft["gittins"]), BEATS, _means(ttft, "law"), alike),
    ]


def _share(runs: Mapping[str, Figures], name: str) -> np.ndarray:
    """(seeds,) gain in mean TTFT over FCFS, as a share of the gain of knowing the draw."""
    x = runs["ttft_mean"]
    return (x["fcfs"] - x[name]) / (x["fcfs"] - x["draw"])


def _at_least(
    stated: Stated, found: Interval, bound: float, baseline: Mapping[str, float], differs: str = ENGINE
) -> Claim:
    span = (found.low, found.high)
    return stated.measured(found.value, span, verdict(span, at_least=bound), baseline=baseline, differs=differs)


def _means(figures: Figures, *names: str) -> dict[str, float]:
    return {name: float(figures[name].mean()) for name in names}


def _engine() -> Instance:
    return replace(preset("llama-7b/a10"), blocks=6000, max_sequences=16)


def _oracle(name: str, *revealed: object) -> LengthPredictor:
    oracle = make("serving.lengths", name)
    oracle.reveal(*revealed)
    predictor: LengthPredictor = oracle
    return predictor
