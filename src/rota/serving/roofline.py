"""A first estimate of an instance for any model shape on any GPU, from bandwidth, arithmetic and memory size alone.

A step cannot be faster than reading the weights, nor than its arithmetic (Williams et al. 2009, the roofline model):

    g(N) = max(weights / (0.8 * bandwidth), 2 * parameters * N / (0.7 * flops)) + all-reduces of N tokens
    per_kv_token = KV bytes of a token on one GPU / (0.8 * bandwidth)
    quadratic    = 4 * layers * heads * head_dim / (0.55 * flops)
    base         = layers * 8 kernels * 3 us  (+ 2 all-reduces a layer)

The shares of peak (0.8, 0.7, 0.55) lie amid what published kernel tables of A100, H100 and L40S reach (aiconfigurator 0.12:
0.77-0.88, 0.61-0.90, 0.55-0.61).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from rota.core.errors import InputError, UnknownName
from rota.serving.model import BLOCK, Instance, StepCost, Transfer

T = TypeVar("T")

GIB = 2**30
MEMORY_SHARE = 0.8
COMPUTE_SHARE = 0.7
ATTENTION_SHARE = 0.55
KERNELS_PER_LAYER = 8
KERNEL_LATENCY = 3e-6
ALL_REDUCE_LATENCY = 1e-5


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of a dense decoder-only transformer.

    Attributes:
        layers, hidden, heads, kv_heads, head_dim, intermediate, vocab: as in the model's configuration file.
        bytes: bytes of a weight and of a KV element (2: bf16 or fp16).
        mlp_matrices: 3 for a gated MLP (LLaMA, Qwen), 2 for a plain one (BLOOM, GPT).
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    bytes: float = 2.0
    mlp_matrices: int = 3

    @property
    def layer_parameters(self) -> int:
        """Weights in all layers, without embeddings."""
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim
        return self.layers * (attention + self.mlp_matrices * self.hidden * self.intermediate)

    @property
    def parameters(self) -> int:
        """Weights of layers, embedding and output head."""
        return self.layer_parameters + 2 * self.vocab * self.hidden

    @property
    def kv_bytes(self) -> float:
        """Bytes of keys and values of one token over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.bytes

    def kv_bytes_on_gpu(self, tp: int) -> float:
        """Bytes of a token's KV on each of `tp` GPUs; heads are repeated where there are fewer than GPUs."""
        return 2 * self.layers * -(-self.kv_heads // tp) * self.head_dim * self.bytes

    def activation_bytes(self, tokens: int, sequences: int, tp: int) -> float:
        """Working memory on one GPU for a step of `tokens` tokens that ends `sequences` of them in logits (fp32)."""
        return tokens * (4 * self.hidden + 2 * self.intermediate / tp) * self.bytes + 4 * sequences * self.vocab / tp


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet.

    Attributes:
        memory: bytes.
        bandwidth: of its memory, bytes/s.
        flops: dense 16-bit tensor operations, 1/s.
        host: link to CPU memory, bytes/s in one direction.
        peers: link to the GPUs of the same machine, bytes/s in one direction.
        network: link to other machines, bytes/s.
    """

    memory: float
    bandwidth: float
    flops: float
    host: float
    peers: float
    network: float


GPUS: dict[str, Gpu] = {
    "a10": Gpu(24 * GIB, 600e9, 125e12, 32e9, 32e9, 8e9),
    "a40": Gpu(48 * GIB, 696e9, 150e12, 32e9, 56e9, 25e9),
    "a100": Gpu(80 * GIB, 2039e9, 312e12, 32e9, 300e9, 25e9),
    "a100-40gb": Gpu(40 * GIB, 1555e9, 312e12, 32e9, 300e9, 25e9),
    "h100": Gpu(80 * GIB, 3350e9, 989e12, 64e9, 450e9, 50e9),
    "h200": Gpu(140 * GIB, 4800e9, 989e12, 64e9, 450e9, 50e9),
    "b200": Gpu(180 * GIB, 8000e9, 2250e12, 128e9, 900e9, 50e9),
    "l4": Gpu(24 * GIB, 300e9, 121e12, 32e9, 32e9, 25e9),
    "l40s": Gpu(48 * GIB, 864e9, 362e12, 32e9, 32e9, 25e9),
    "v100": Gpu(32 * GIB, 900e9, 125e12, 16e9, 150e9, 12.5e9),
}
"""By name; per data sheet, with links as in aiconfigurator's system files. A name without a size is the largest SXM model."""

MODELS: dict[str, ModelShape] = {
    "bloom-176b": ModelShape(70, 14336, 112, 112, 128, 57344, 250880, mlp_matrices=2),
    "llama-7b": ModelShape(32, 4096, 32, 32, 128, 11008, 32000),
    "llama-30b": ModelShape(60, 6656, 52, 52, 128, 17920, 32000),
    "llama-2-7b": ModelShape(32, 4096, 32, 32, 128, 11008, 32000),
    "llama-2-13b": ModelShape(40, 5120, 40, 40, 128, 13824, 32000),
    "llama2-70b": ModelShape(80, 8192, 64, 8, 128, 28672, 32000),
    "llama-3-8b": ModelShape(32, 4096, 32, 8, 128, 14336, 128256),
    "llama-3-70b": ModelShape(80, 8192, 64, 8, 128, 28672, 128256),
    "mistral-7b": ModelShape(32, 4096, 32, 8, 128, 14336, 32000),
    "qwen-32b": ModelShape(64, 5120, 40, 8, 128, 27392, 152064),
    "qwen2.5-7b": ModelShape(28, 3584, 28, 4, 128, 18944, 152064),
    "qwen3-8b": ModelShape(36, 4096, 32, 8, 128, 12288, 151936),
    "qwen3-32b": ModelShape(64, 5120, 64, 8, 128, 25600, 151936),
}
"""Shapes by name, from the models' public configuration files (`qwen-32b` is Qwen1.5-32B)."""


def roofline(
    model: ModelShape | str,
    gpu: Gpu | str,
    tp: int = 1,
    *,
    name: str | None = None,
    max_batched_tokens: int = 8192,
    max_sequences: int = 256,
    utilization: float = 0.9,
) -> Instance:
    """An instance of `model` on `tp` GPUs, estimated from data sheets; use `rota calibrate` where measurements exist.

    Args:
        model: a shape, or a name in `MODELS`.
        gpu: a data sheet, or a name in `GPUS`.
        tp: tensor-parallel degree.
        name: of the instance (default `MODEL/GPU`, or `MODEL/GPU-tpN`).
        max_batched_tokens: token budget of a step.
        max_sequences: most sequences at once.
        utilization: share of GPU memory that the engine may use.

    Raises:
        UnknownName: no such model or GPU.
        InputError: the weights do not fit.
    """
    label = instance_name(model if isinstance(model, str) else "model", gpu if isinstance(gpu, str) else "gpu", tp)
    shape = model if isinstance(model, ModelShape) else named(MODELS, model, "model")
    card = gpu if isinstance(gpu, Gpu) else named(GPUS, gpu, "GPU")
    if tp < 1:
        raise InputError("tp", str(tp), "at least 1")
    room = (
        utilization * card.memory
        - shape.parameters * shape.bytes / tp
        - shape.activation_bytes(max_batched_tokens, max_sequences, tp)
    )
    return Instance(
        name=name or label,
        cost=step_cost(shape, card, tp),
        blocks=_blocks(label, room, shape, tp),
        kv_bytes=shape.kv_bytes,
        layers=shape.layers,
        max_sequences=max_sequences,
        max_batched_tokens=max_batched_tokens,
        migration=Transfer(MEMORY_SHARE * card.network, 0.01),
        swap=Transfer(MEMORY_SHARE * card.host * tp),
        cpu_blocks=max(1, int(60 * GIB // (BLOCK * shape.kv_bytes))),
        model=model if isinstance(model, str) else "default",
        gpus=tp,
    )


def step_cost(shape: ModelShape, gpu: Gpu, tp: int = 1) -> StepCost:
    """Step durations of `shape` on `tp` GPUs by the formulas at the head of this module."""
    weights = (shape.layer_parameters + shape.vocab * shape.hidden) * shape.bytes / tp
    floor = weights / (MEMORY_SHARE * gpu.bandwidth)
    per_token = 2 * shape.layer_parameters / tp / (COMPUTE_SHARE * gpu.flops)
    sent = 2 * shape.layers * shape.hidden * shape.bytes * 2 * (tp - 1) / tp / (MEMORY_SHARE * gpu.peers)
    ridge = max(2.0, floor / per_token)
    points = (1.0, ridge, 2 * ridge)
    base = shape.layers * (KERNELS_PER_LAYER * KERNEL_LATENCY + (2 * ALL_REDUCE_LATENCY if tp > 1 else 0.0))
    return StepCost(
        tokens=points,
        seconds=tuple(max(floor, per_token * n) + sent * n for n in points),
        decode_base=base,
        prefill_base=base,
        per_kv_token=shape.kv_bytes_on_gpu(tp) / (MEMORY_SHARE * gpu.bandwidth),
        quadratic=4 * shape.layers * shape.heads * shape.head_dim / tp / (ATTENTION_SHARE * gpu.flops),
    )


def instance_name(model: str, gpu: str, tp: int = 1) -> str:
    """`llama-3-8b/h100`, or `llama2-70b/a100-tp4`."""
    return f"{model}/{gpu}" if tp == 1 else f"{model}/{gpu}-tp{tp}"


def named(table: dict[str, T], name: str, kind: str) -> T:
    """The entry called `name`, in any case; raises `UnknownName` with the nearest."""
    if name.lower() not in table:
        raise UnknownName(kind, name, table)
    return table[name.lower()]


def _blocks(label: str, room: float, shape: ModelShape, tp: int) -> int:
    blocks = int(room // (BLOCK * shape.kv_bytes_on_gpu(tp)))
    if blocks < 1:
        size = shape.parameters * shape.bytes / GIB
        raise InputError(
            label,
            f"{size:.0f} GiB of weights over {tp} GPU(s)",
            "weights that leave room for a KV cache (more GPUs: tp)",
        )
    return blocks
