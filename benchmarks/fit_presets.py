"""Fit the step costs of `rota/serving/presets.toml` and write that file: `python benchmarks/fit_presets.py [--check]`.

Three kinds of source: kernel tables (milliseconds, written down below), the per-layer profiles of Vidur and the end-to-end
measurements of SplitwiseSim (both in the data folder). What none of them says is left to the roofline.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

import rota.serving
from rota.core.data import data_folder
from rota.serving.instance_file import toml_of
from rota.serving.model import Instance, StepCost, Transfer
from rota.serving.roofline import MODELS, roofline

TARGET = Path(rota.serving.__file__).with_name("presets.toml")
HARDWARE = {"a10": "NVIDIA A10 24 GB", "a40": "NVIDIA A40 48 GB", "a100": "NVIDIA A100 SXM 80 GB", "h100": "NVIDIA H100 SXM 80 GB",
            "h200": "NVIDIA H200 SXM 141 GB", "l40s": "NVIDIA L40S 48 GB"}  # fmt: skip
Points = dict[int, float]


class Kernels(NamedTuple):
    """Kernel times in ms: linear layers by tokens, causal prompt attention by length, decode attention as base + us per KV token."""

    linear: Points
    attention: Points
    decode_base: float
    per_kv_us: float | None = None


LENGTHS = (512, 1024, 2048, 4096, 8192)


def by_length(*milliseconds: float) -> Points:
    """Times at `LENGTHS`."""
    return dict(zip(LENGTHS, milliseconds, strict=True))


AICONFIGURATOR = {
    ("llama-2-7b", "l40s"): Kernels({1: 18, 128: 21.7, 512: 28, 2048: 111}, {}, 1.07),
    ("llama-3-8b", "a100"): Kernels(
        {1: 10.0, 128: 10.9, 512: 35, 2048: 102}, by_length(1.3, 3.1, 8.7, 29, 100), 1.17, 0.0813
    ),
    ("llama-3-8b", "h100"): Kernels(
        {1: 5.0, 128: 5.8, 512: 9.2, 2048: 35.6}, by_length(0.7, 1.1, 2.9, 8.5, 29), 0.80, 0.0446
    ),
    ("llama-3-8b", "h200"): Kernels({1: 3.9, 128: 4.4, 512: 9.1, 2048: 37.8}, {}, 0.69, 0.0329),
    ("llama-3-8b", "l40s"): Kernels({1: 19.6, 128: 23, 512: 25, 2048: 130}, {}, 1.07, 0.198),
    ("llama-2-13b", "a100"): Kernels({1: 18.1, 128: 21, 512: 61, 2048: 178}, by_length(2.3, 5.2, 14, 46, 163), 1.46),
    ("llama-2-13b", "h100"): Kernels({1: 8.9, 128: 10.7, 512: 16, 2048: 63}, {}, 1.00),
    ("qwen3-32b", "h100"): Kernels({1: 21, 128: 24, 512: 41, 2048: 158}, {}, 1.88, 0.085),
}
"""Attention of Llama-2-7B, read from the same tables, joins Vidur's linear layers below."""
LLAMA_2_7B_ATTENTION = {
    "a100": (by_length(1.4, 3.5, 9.2, 30, 108), 1.17),
    "h100": (by_length(0.73, 1.6, 3.5, 9.8, 32), 0.80),
}
KNOTS = (1, 128, 512, 2048)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether the file is what the data gives")
    check = parser.parse_args().check
    folder = data_folder()
    if folder is None:
        sys.exit("fit_presets: no data folder found (set ROTA_DATA to a folder that holds serving/vidur_linear_ms.csv)")
    text = "\n".join(_section(*preset) for preset in sorted(fitted(folder / "serving"), key=lambda p: p[0].name))
    text = (
        "# Written by benchmarks/fit_presets.py. Seconds, tokens, bytes; `about` names hardware, model and source of every one.\n\n"
        + text
    )
    if check:
        sys.exit(
            0 if TARGET.read_text("utf-8") == text else f"fit_presets: {TARGET.name} differs from what the data gives"
        )
    TARGET.write_text(text, "utf-8")
    print(f"wrote {text.count('.about]')} presets to {TARGET.name}")


def fitted(folder: Path) -> Iterable[tuple[Instance, dict[str, str]]]:
    """Every preset with what is to be said about it."""
    yield from llumnix()
    for (model, gpu), kernels in AICONFIGURATOR.items():
        yield from_kernels(model, gpu, kernels, "aiconfigurator-core 0.12 kernel tables for vLLM (Apache-2.0)")
    for gpu, linear in vidur(folder / "vidur_linear_ms.csv", "Llama-2-7b").items():
        attention, base = LLAMA_2_7B_ATTENTION.get(gpu, ({}, 1.2))
        source = "linear layers: Vidur profiles (MIT); attention: " + (
            "aiconfigurator-core 0.12 tables" if attention else "roofline"
        )
        yield from_kernels("llama-2-7b", gpu, Kernels(linear, attention, base), source)
    for (model, gpu, tp), rows in splitwise(folder / "splitwise_perf_model.csv").items():
        yield from_end_to_end(model, gpu, tp, rows)
    for model, gpu in (("llama-3-8b", "a10"), ("qwen-32b", "a100")):
        yield roofline(model, gpu), about(model, gpu, 1, "roofline estimate, not measured")


def llumnix() -> Iterable[tuple[Instance, dict[str, str]]]:
    """Llumnix's test bed. Its decode and prefill steps are separate lines, so per_sequence is the difference of their slopes."""
    small = StepCost((0.0, 1.0), (0.0, 0.243e-3), 35.65e-3, 5.6e-3, 0.5e-3, 1.13e-6, 4.2e-8, 11.4e-3)
    yield (
        engine("llama-7b", "a10", 1, "llama-7b/a10", 785, small, Transfer(2.48e9, 0.0152)),
        about(
            "llama-7b", "a10", 1,
            "Llumnix (OSDI 2024) artifact, vLLM 0.1.7 under Ray: copy times fitted to its profiles and Fig. 10; decode, prefill and the "
            "overhead of a prompt fitted to 14 request means of Fig. 11 on the paper's own requests (benchmarks/fit_llumnix.py); "
            "785 blocks, as in its profiles at 12,800 batched tokens",
        ),
    )  # fmt: skip
    per_kv = roofline("llama-30b", "a10", 4).cost.per_kv_token
    large = StepCost(
        (0.0, 1.0), (0.0, 0.4116e-3), 60.8e-3 - 8192 * per_kv, 12.2e-3, (0.117 - 0.4116) * 1e-3, per_kv, 2 * 1.8e-9
    )
    blocks = roofline("llama-30b", "a10", 4, max_batched_tokens=12800).blocks
    yield (
        engine("llama-30b", "a10", 4, "llama-30b/4xa10", blocks, large, Transfer(4.75e9, 0.041)),
        about(
            "llama-30b", "a10", 4,
            "Llumnix (OSDI 2024) artifact: decode at 8,192 KV tokens, prefill and copy times fitted to its profiles and Fig. 10; "
            "slope of the KV and number of blocks from the roofline",
        ),
    )  # fmt: skip


def engine(model: str, gpu: str, tp: int, name: str, blocks: int, cost: StepCost, migration: Transfer) -> Instance:
    """An instance of vLLM 0.1: whole prompts, 12,800 batched tokens."""
    base = roofline(model, gpu, tp, name=name, max_batched_tokens=12800)
    return replace(base, blocks=blocks, cost=cost, migration=migration, swap=Transfer(22e9 * tp), prefill="whole")


def from_kernels(model: str, gpu: str, kernels: Kernels, source: str) -> tuple[Instance, dict[str, str]]:
    """A chunked-prefill instance whose step is the sum of its kernels."""
    base = roofline(model, gpu)
    per_token, quadratic = causal(kernels.attention) if kernels.attention else (0.0, base.cost.quadratic)
    cost = StepCost(
        tokens=tuple(float(n) for n in kernels.linear),
        seconds=tuple(rounded(ms / 1e3 + per_token * n) for n, ms in kernels.linear.items()),
        decode_base=rounded(kernels.decode_base / 1e3),
        per_kv_token=rounded(kernels.per_kv_us / 1e6 if kernels.per_kv_us else base.cost.per_kv_token),
        quadratic=rounded(quadratic),
    )
    missing = [
        k for k, there in (("prompt attention", kernels.attention), ("KV slope", kernels.per_kv_us)) if not there
    ]
    note = f"; {' and '.join(missing)} from the roofline" if missing and "roofline" not in source else ""
    return replace(base, cost=cost), about(model, gpu, 1, source + note + "; kernels only, no engine overhead")


def causal(attention: Points) -> tuple[float, float]:
    """Seconds a token and seconds a token pair of `per_token * n + quadratic * n^2 / 2`, by relative least squares, both >= 0."""
    n = np.array(list(attention), dtype=float)
    y = np.array(list(attention.values())) / 1e3
    found, _ = nnls(np.column_stack([n, n**2 / 2]) / y[:, None], np.ones(len(n)))
    return float(found[0]), float(found[1])


def vidur(path: Path, model: str) -> dict[str, Points]:
    """Median ms of the linear layers at the knots, by GPU, for one GPU."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with path.open() as file:
        for row in csv.DictReader(file):
            if model in row["model"] and row["tp"] == "1" and int(row["num_tokens"]) in KNOTS:
                found[row["device"]][int(row["num_tokens"])].append(float(row["linear_ms_all_layers"]))
    return {gpu: {n: round(median(points[n]), 3) for n in sorted(points)} for gpu, points in found.items()}


def splitwise(path: Path) -> dict[tuple[str, str, int], list[tuple[int, int, float, float]]]:
    """Median (prompt, batch, prompt seconds, token seconds) by model, GPU and degree; without the anomalous TP 2, batch 64."""
    runs: dict[tuple[str, str, int], dict[tuple[int, int], list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    with path.open() as file:
        for row in csv.DictReader(file):
            size, batch, tp = int(row["prompt_size"]), int(row["batch_size"]), int(row["tensor_parallel"])
            if "pcap" not in row["hardware"] and row["token_size"] == "128" and not (tp == 2 and batch == 64):
                key = (row["model"], row["hardware"].partition("-")[0], tp)
                runs[key][size, batch].append((float(row["prompt_time"]) / 1e3, float(row["token_time"]) / 1e3))
    return {
        key: [(p, b, median(t for t, _ in v), median(t for _, t in v)) for (p, b), v in sorted(cells.items())]
        for key, cells in runs.items()
    }


def from_end_to_end(
    model: str, gpu: str, tp: int, rows: list[tuple[int, int, float, float]]
) -> tuple[Instance, dict[str, str]]:
    """Prompts of a batch of one give g(N); decode steps give its first point and the price of a sequence."""
    base = roofline(model, gpu, tp)
    quadratic, per_kv = base.cost.quadratic, base.cost.per_kv_token
    prompts = {p: seconds - quadratic * p**2 / 2 for p, b, seconds, _ in rows if b == 1}
    knots = {p: v for p, v in prompts.items() if p in (128, 512, 2048, 4096, 8192)}
    decodes = [(b, seconds - per_kv * b * (p + 64)) for p, b, _, seconds in rows]
    first = median(seconds for b, seconds in decodes if b == 1)
    slope = (min(knots.values()) - first) / 127
    extra = [(seconds - first - slope * (b - 1)) / b for b, seconds in decodes if b >= 16]
    cost = StepCost(
        tokens=(1.0, *(float(n) for n in knots)),
        seconds=tuple(rounded(v) for v in (first, *knots.values())),
        per_sequence=rounded(max(0.0, float(np.mean(extra)))),
        per_kv_token=rounded(per_kv),
        quadratic=rounded(quadratic),
    )
    source = (
        "SplitwiseSim end-to-end measurements (MIT), batches of one for prompts; attention slopes from the roofline"
    )
    return replace(base, cost=cost), about(model, gpu, tp, source)


def rounded(seconds: float) -> float:
    """Four significant digits: more than any of the sources has."""
    return float(f"{seconds:.4g}")


def about(model: str, gpu: str, tp: int, source: str) -> dict[str, str]:
    """The text beside a preset."""
    billions = MODELS[model].parameters / 1e9
    return {
        "hardware": f"{tp} x {HARDWARE[gpu]}",
        "model": f"{model}, 16 bit, {billions:.0f} B parameters",
        "source": source,
    }


def _section(instance: Instance, told: dict[str, str]) -> str:
    cost = instance.cost
    cost = replace(cost, **{f: rounded(getattr(cost, f)) for f in ("decode_base", "prefill_base", "per_sequence", "per_kv_token", "quadratic")},
                   tokens=tuple(map(rounded, cost.tokens)), seconds=tuple(map(rounded, cost.seconds)))  # fmt: skip
    lines = toml_of(replace(instance, cost=cost), told).splitlines()
    key = f'"{instance.name}"'
    return "\n".join([f"[{key}]", *(f"[{key}.{line[1:]}" if line.startswith("[") else line for line in lines)]) + "\n"


if __name__ == "__main__":
    main()
