"""What one run is about: a fleet, one engine whose priorities change, or one offline batch. The policies named tell which.

dispatch, reschedule, ...      a fleet under a stream of requests (`simulate.py`)
swap, priorities               one engine, KV swapped as priorities change (`preemptive.py`, FastSwitch)
residency                      one offline batch larger than the GPU (`residency/`, ALISA)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rota.core.errors import InputError, UnknownName
from rota.core.registry import make, parse
from rota.core.timeline import Timeline
from rota.serving.fleets import fleet
from rota.serving.model import Floats, Instance, Workload
from rota.serving.preemptive import check_fit, simulate_preemptive
from rota.serving.preemptive_run import PreemptiveRun
from rota.serving.priorities import iterations_between, trace
from rota.serving.residency import OfflineBatch, ResidencyRun, offline_batch, simulate_residency
from rota.serving.run import Run
from rota.serving.service import check_sizes
from rota.serving.simulate import DEFAULTS, simulate
from rota.serving.workloads import by_name

FREQUENCY = 0.04
PRIORITIES = f"markov(frequency={FREQUENCY})"
CURVE_POINTS = 200


class Outcome(Protocol):
    """What every kind of run gives back."""

    @property
    def metrics(self) -> dict[str, float]:
        """Figures by name."""
        ...

    @property
    def timeline(self) -> Timeline:
        """What happened when."""
        ...

    def check(self) -> None:
        """Hold the outcome against the rules of its setting."""
        ...


@dataclass(frozen=True)
class Setting:
    """A kind of run.

    Attributes:
        kinds: the policies it takes; the first tells it from the others.
        system: what the text or table of a fleet stands for here.
        load: what the text of a workload stands for here, with a seed.
        fit: raises InputError if the load cannot be run on the system.
        run: (system, load, policies, seed) -> outcome.
    """

    kinds: tuple[str, ...]
    system: Callable[[Any], Any]
    load: Callable[[str, int], Any]
    fit: Callable[[Any, Any], object]
    run: Callable[[Any, Any, Mapping[str, Any], int], Outcome]


def setting(policies: Mapping[str, Any]) -> Setting:
    """Which setting a set of policies belongs to.

    Raises:
        UnknownName: a kind of decision that there is not.
        InputError: kinds of two settings together.
    """
    for kind in policies:
        if kind not in KINDS:
            raise UnknownName("policies", kind, KINDS)
    found = next((each for each in SETTINGS[1:] if each.kinds[0] in policies), SETTINGS[0])
    for kind in policies:
        if kind not in found.kinds:
            together = " and ".join(policies) if len(policies) > 1 else f"{kind} alone"
            raise InputError(
                "policies", together, f"kinds that go together: {'; '.join(', '.join(s.kinds) for s in SETTINGS)}"
            )
    return found


def run(spec: Mapping[str, Any]) -> Outcome:
    """Do what a spec says: `workload` (text), `fleet` (text or table), `policies` (kind -> text), `seed`."""
    policies, seed = spec["policies"], spec["seed"]
    chosen = setting(policies)
    return chosen.run(chosen.system(spec["fleet"]), chosen.load(spec["workload"], seed), policies, seed)


def check_policies(policies: Mapping[str, Any]) -> None:
    """Raise the error that a misspelt policy or parameter will cause."""
    setting(policies)
    for kind, spec in policies.items():
        if not isinstance(spec, str):
            raise InputError(kind, repr(spec), "the name of a policy, as a text")
        if kind == "priorities":
            _priorities(spec)
        else:
            make(f"serving.{kind}", spec)


def curves(outcome: Outcome) -> dict[str, dict[str, list[float]]]:
    """What a report draws of a run: distributions of latencies, and load over time where there is one."""
    found: dict[str, dict[str, list[float]]] = {}
    if isinstance(outcome, Run | PreemptiveRun):
        found |= {name: distribution(outcome.requests[name]) for name in ("ttft", "tpot", "e2e")}
    if isinstance(outcome, Run):
        time = outcome.load["time"].tolist()
        over_time = {"load": "kv_usage", "running": "running", "waiting": "waiting"}
        found |= {name: {"x": time, "y": outcome.load[column].tolist()} for name, column in over_time.items()}
    return found


def distribution(values: Floats) -> dict[str, list[float]]:
    """A cumulative distribution: x the value, y the share of requests at or below it."""
    known = values[np.isfinite(values)]
    share = np.concatenate([np.linspace(0, 0.99, CURVE_POINTS), [0.995, 0.999, 0.9999, 1.0]])
    return {"x": np.quantile(known, share).tolist() if len(known) else [], "y": share.tolist() if len(known) else []}


# -- one engine whose priorities change


def _engine(spec: Any) -> Instance:
    for option in ("initial", "startup", "report_interval", "counts_sent"):
        if isinstance(spec, Mapping) and option in spec:
            raise InputError(f"fleet: {option}", repr(spec[option]), "nothing, where a swap policy is put to the test")
    kinds = fleet(spec).kinds
    if len(kinds) != 1:
        raise InputError("fleet", f"{len(kinds)} instances", "one, where a swap policy is put to the test")
    return kinds[0]


def _swapping(engine: Instance, workload: Workload, policies: Mapping[str, Any], seed: int) -> PreemptiveRun:
    name, frequency = _priorities(policies.get("priorities", PRIORITIES))
    return simulate_preemptive(engine, workload, policies["swap"], name, frequency, seed, audit=True)


def _priorities(text: str) -> tuple[str, float]:
    """A priority trace and its frequency, from e.g. `markov(frequency=0.04)`."""
    name, given = parse(text)
    trace(name, 1, 0)
    for key in given:
        if key != "frequency":
            raise UnknownName(f"priorities {name}", key, ("frequency",))
    frequency = given.get("frequency", FREQUENCY)
    if isinstance(frequency, bool) or not isinstance(frequency, int | float):
        raise InputError(f"priorities {name}: frequency", repr(frequency), "updates an iteration, in (0, 1]")
    iterations_between(frequency)
    return name, float(frequency)


# -- an offline batch


def _pair(spec: Any) -> str:
    table = {"instances": spec} if isinstance(spec, str) else spec
    for key in ("instances", *table):
        if key not in ("instances", "name") or not isinstance(table.get("instances"), str):
            raise InputError(
                "fleet", repr(dict(table)), "instances = 'MODEL/DEVICE' and a name alone, under a residency policy"
            )
    pair = table["instances"]
    offline_batch(pair, batch=1)
    return pair


def _sizes(text: str, _seed: int) -> dict[str, int]:
    """The sizes in e.g. `offline(batch=64, prompt=128, output=512)`."""
    name, given = parse(text)
    if name != "offline":
        raise InputError(
            "workload", repr(text), "e.g. 'offline(batch=64, prompt=128, output=512)', under a residency policy"
        )
    sizes = {"batch": 64, "prompt": 128, "output": 512}
    for key, value in given.items():
        if key not in sizes:
            raise UnknownName("offline", key, sizes)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"offline: {key}", repr(value), "a whole number")
    return sizes | given


def _generation(pair: str, sizes: Mapping[str, int], policies: Mapping[str, Any], _seed: int) -> ResidencyRun:
    return simulate_residency(_offline(pair, sizes), policies["residency"])


def _offline(pair: str, sizes: Mapping[str, int]) -> OfflineBatch:
    return offline_batch(pair, sizes["batch"], sizes["prompt"], sizes["output"])


SETTINGS = (
    Setting(tuple(DEFAULTS), fleet, by_name, check_sizes, simulate),
    Setting(("swap", "priorities"), _engine, by_name, check_fit, _swapping),
    Setting(("residency",), _pair, _sizes, _offline, _generation),
)
KINDS = tuple(kind for each in SETTINGS for kind in each.kinds)
"""Every kind of decision that a run can name a policy for."""
