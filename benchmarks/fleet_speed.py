"""How fast is the fleet simulator? `python benchmarks/fleet_speed.py [--json] [--no-peer] [--scale 1.0]`.

Against NVIDIA Dynamo's mocker (`ai-dynamo` 1.6.1, written in Rust), in its offline replay on a virtual clock: the same
requests, the same number of instances, the same step times (a table made from the preset), in one run. Times are the least
wall clock times of several simulations alone, without reading the trace; ours are warm (compiled code is cached on disk).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import peer
from rows import Row, show, timed

import rota
from rota.core.data import data_folder
from rota.serving.model import Fleet, Instance, Workload
from rota.serving.presets import preset
from rota.serving.workloads.read import read

PEER = "Dynamo mocker 1.6.1, offline replay"
MOCKER_BLOCKS = 16384 * 64 // 16
"""What an instance of the mocker holds by default: 16,384 blocks of 64 tokens; ours have 16."""
PRESET = "llama-3-8b/h100"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-peer", action="store_true", help="only our own figures")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the requests, to try things out")
    parser.add_argument("--million", type=int, metavar="N", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.million:
        print(json.dumps(one_large_run(told.million)))
        return
    rows = [
        *fixed_lengths(told.scale, told.no_peer),
        *mooncake(told.scale, told.no_peer),
        *million(told.scale),
        *growth(told.scale),
    ]
    show(rows, told.json)


def fixed_lengths(scale: float, alone: bool) -> list[Row]:
    """10,000 requests of 512 + 512 tokens, Poisson at 2.8 a second, round-robin over 16 instances."""
    n = max(10, int(10_000 * scale))
    arrival = np.cumsum(np.random.default_rng(0).exponential(1 / 2.8, n))
    load = Workload.of(np.round(arrival, 3), np.full(n, 512), np.full(n, 512), name="512 + 512")
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.jsonl")
        trace.write_text("".join(_mooncake_line(i, t) for i, t in enumerate(load.arrival)))
        return side_by_side(
            f"{n:,} x (512, 512), 16 instances, 2.8 requests/s", load, instance(), 16, "round-robin", trace, alone
        )


def mooncake(scale: float, alone: bool) -> list[Row]:
    """Mooncake's conversation trace over 8 instances that keep prefixes; their router against our prefix-aware dispatch."""
    folder = data_folder()
    question = "Mooncake conversation trace with prefix caching, 8 instances"
    if folder is None:
        return [Row(question, PEER, None, "x", ">= 30", None, "no data folder (set ROTA_DATA)")]
    trace = folder / "traces" / "mooncake_conversation.jsonl"
    with tempfile.TemporaryDirectory() as temporary:
        if scale < 1:
            lines = trace.read_text().splitlines(keepends=True)
            trace = Path(temporary, trace.name)
            trace.write_text("".join(lines[: max(10, int(scale * len(lines)))]))
        return side_by_side(question, read(trace), instance(prefix_cache=True), 8, "prefix-aware", trace, alone)


def side_by_side(
    question: str, load: Workload, kind: Instance, count: int, dispatch: str, trace: Path, alone: bool
) -> list[Row]:
    """Ratio of wall times, and how far the mean latencies are from each other."""
    fleet = Fleet.of(kind, count)
    rota.simulate(fleet, load, {"dispatch": dispatch}, seed=0)
    ours, run = timed(lambda: rota.simulate(fleet, load, {"dispatch": dispatch}, seed=0), 5)
    mine = {f"{m}_mean": 1e3 * run.metrics[f"{m}_mean"] for m in ("ttft", "tpot", "e2e")}
    figures = f"Rota {ours.wall:.3f} s (processor {ours.processor:.3f} s); {latencies(mine)}"
    if kind.prefix_cache:
        figures += f", prefix hits {run.metrics['prefix_hit_rate']:.3f}"
    try:
        if alone:
            raise peer.NoPeer("left out by --no-peer")
        theirs = replayed(trace, count, "kv_router" if kind.prefix_cache else "round_robin")
    except peer.NoPeer as error:
        return [Row(question, PEER, None, "x", ">= 30", None, f"{figures}; {error}")]
    wall, processor, summary = min(theirs["seconds"]), min(theirs["processor"]), theirs["summary"]
    their = {
        "ttft_mean": summary["mean_ttft_ms"],
        "tpot_mean": summary["mean_tpot_ms"],
        "e2e_mean": summary["mean_e2e_latency_ms"],
    }
    told = f"Dynamo {wall:.2f} s (processor {processor:.2f} s); {latencies(their)}"
    if kind.prefix_cache:
        told += f", prefix reuse {summary['prefix_cache_reused_ratio']:.3f}"
    apart = max(abs(mine[name] / their[name] - 1) for name in mine)
    rows = [
        Row.judged(f"{question}: how many times faster", PEER, wall / ours.wall, "x", ">= 30", f"{figures}. {told}")
    ]
    goal = "" if kind.prefix_cache else "<= 2"
    detail = "largest difference of the means of TTFT, TPOT, E2E" + (
        "; routers differ, so reported only" if kind.prefix_cache else ""
    )
    same = Row(
        f"{question}: same answer", PEER, round(100 * apart, 2), "%", goal, apart <= 0.02 if goal else None, detail
    )
    return [*rows, same]


def latencies(milliseconds: dict[str, float]) -> str:
    """Mean latencies as text."""
    return ", ".join(f"{name.removesuffix('_mean').upper()} {ms:.3f} ms" for name, ms in milliseconds.items())


def replayed(trace: Path, workers: int, router: str) -> dict[str, Any]:
    """The mocker's times and summary, with the step times of `PRESET`."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "profile.npz")
        write_profile(profile)
        question = {"trace": str(trace), "workers": workers, "router": router, "profile": str(profile), "repeat": 3}
        return peer.ask("dynamo", "dynamo_replay.py", question)


def write_profile(path: Path) -> None:
    """The preset's step times as the table that the mocker interpolates (milliseconds)."""
    cost = preset(PRESET).cost
    prompts = np.unique(np.concatenate([np.arange(1, 130), np.arange(128, 8193, 64), [16384, 32768, 65536, 131072]]))
    held, context = np.linspace(0, MOCKER_BLOCKS * 16, 129), np.geomspace(16, 131072, 64)
    np.savez(
        path,
        prefill_isl=prompts.astype(float),
        prefill_ttft_ms=[1e3 * cost.step(0, 0, [(int(n), 0)]) for n in prompts],
        decode_active_kv_tokens=held,
        decode_context_length=context,
        decode_itl=[[1e3 * cost.step(min(256, max(1, round(k / c))), k) for c in context] for k in held],
    )


def million(scale: float) -> list[Row]:
    """A million requests of mean 512 + 512 tokens over 64 instances, in a process of its own."""
    n = max(100, int(1_000_000 * scale))
    done = subprocess.run([sys.executable, __file__, "--million", str(n)], capture_output=True, text=True)
    question = f"{n:,} requests over 64 instances"
    if done.returncode:
        return [Row(question, "nobody: our own bound", None, "s", "<= 60", False, done.stderr.strip().splitlines()[-1])]
    told = json.loads(done.stdout)
    detail = f"TPOT {told['tpot_ms']:.2f} ms, {told['running']:.1f} requests run on an instance; whole process {told['process']:.1f} s"
    return [
        Row.judged(f"{question}: wall time", "nobody: our own bound", told["seconds"], "s", "<= 60", detail),
        Row.judged(
            f"{question}: peak memory",
            "nobody: our own bound",
            told["gigabytes"],
            "GB",
            "<= 2",
            "largest resident set of the process",
        ),
    ]


def one_large_run(n: int) -> dict[str, float]:
    """Seconds and gigabytes of one run of `n` requests."""
    begun = perf_counter()
    load = busy(n)
    start = perf_counter()
    run = rota.simulate(Fleet.of(instance(), 64), load, {"dispatch": "round-robin"}, seed=0)
    end = perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": end - start, "process": end - begun, "gigabytes": peak, "tpot_ms": 1e3 * run.metrics["tpot_mean"],
            "running": float(np.mean(run.load["running"])) / 64}  # fmt: skip


def growth(scale: float) -> list[Row]:
    """Processor time against the number of requests, at four sizes: 1 is linear."""
    sizes = [max(50, int(size * scale)) for size in (25_000, 50_000, 100_000, 200_000)]
    fleet = Fleet.of(instance(), 64)
    rota.simulate(fleet, busy(sizes[0]), {"dispatch": "round-robin"}, seed=0)
    seconds = [
        timed(partial(rota.simulate, fleet, busy(n), {"dispatch": "round-robin"}, seed=0), 3)[0].processor
        for n in sizes
    ]
    power = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    detail = ", ".join(f"{n:,}: {s:.2f} s" for n, s in zip(sizes, seconds, strict=True))
    return [
        Row.judged(
            "growth of processor time with requests, 64 instances: power",
            "nobody: 1 is linear",
            power,
            "",
            "<= 1.1",
            detail,
        )
    ]


def busy(n: int) -> Workload:
    """Requests with geometric lengths of mean 512 + 512, two a second and instance: some seven run at a time."""
    rng = np.random.default_rng(1)
    prompt, output = (np.minimum(rng.geometric(1 / 512, n), 8192) for _ in range(2))
    return Workload.of(np.cumsum(rng.exponential(1 / 128, n)), prompt, output, name=f"{n} requests")


def instance(prefix_cache: bool = False) -> Instance:
    """The preset with the memory of the mocker's instances."""
    return replace(preset(PRESET), blocks=MOCKER_BLOCKS, prefix_cache=prefix_cache)


def _mooncake_line(i: int, seconds: float) -> str:
    return (
        json.dumps({"timestamp": round(1e3 * seconds), "input_length": 512, "output_length": 512, "hash_ids": [i]})
        + "\n"
    )


if __name__ == "__main__":
    main()
