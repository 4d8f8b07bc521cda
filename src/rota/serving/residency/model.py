"""The nouns of KV residency: a model's shape, a device, a batch to generate, and a placement of its KV, step by step.

Sizes are bytes, times seconds, and lengths tokens. Step 0 prefills the prompts and yields the first output token;
step j >= 1 decodes the next one, with `prompt + j` tokens of context behind each sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import Infeasible, InputError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ModelShape:
    """A transformer with multi-head attention: `layers` x `hidden`, `heads` a layer, FP16 weights for `parameters`."""

    name: str
    layers: int
    hidden: int
    heads: int
    parameters: float

    @property
    def weight_bytes(self) -> float:
        """FP16 weights."""
        return 2.0 * self.parameters

    def kv_bytes(self, bits: int = 16) -> float:
        """K and V of one token of one sequence: 4 * layers * hidden bytes in FP16, half of that in INT8.

        INT8 is channel-wise, so its scale and zero are 4 bytes for each channel of a sequence: under 1 %, left out.
        """
        return self.layers * self.hidden * bits / 4.0


@dataclass(frozen=True)
class Device:
    """One GPU, its link, and the host memory behind it.

    Attributes:
        name: as in the preset table.
        memory: GPU bytes.
        bandwidth: peak GPU memory bandwidth, bytes/s.
        flops: peak FP16 tensor flop/s.
        link: GPU-host bandwidth, bytes/s, one direction at a time.
        host_memory: bytes for offloaded KV.
        bandwidth_share: achieved share of `bandwidth` (0.8: the memory factor that NVIDIA's aiconfigurator uses).
        flops_share: achieved share of `flops` in large GEMMs (0.5: an assumption).
        launch: seconds to launch one kernel (5 microseconds: an assumption; eager mode, nothing hides it).
    """

    name: str
    memory: float
    bandwidth: float
    flops: float
    link: float = 20e9
    host_memory: float = 128e9
    bandwidth_share: float = 0.8
    flops_share: float = 0.5
    launch: float = 5e-6

    def read(self, size: Floats | float) -> Floats:
        """Seconds to move `size` bytes through GPU memory."""
        return np.asarray(size / (self.bandwidth * self.bandwidth_share))

    def multiply(self, flops: Floats | float) -> Floats:
        """Seconds for `flops` floating-point operations of large GEMMs."""
        return np.asarray(flops / (self.flops * self.flops_share))


@dataclass(frozen=True)
class OfflineBatch:
    """`batch` sequences with `prompt` tokens each, each to get `output` more: what a policy plans for.

    Attributes:
        model, device: what runs where.
        batch, prompt, output: sequences, and tokens of each.
        overlap: True, transfers of a step run beside its GPU work, layer by layer (the first layer's cannot);
            False, they come before it, as in ALISA's sum of T_c + T_m + T_r.

    Raises:
        InputError: a size below 1.
        Infeasible: the weights alone do not fit on the GPU.
    """

    model: ModelShape
    device: Device
    batch: int
    prompt: int = 128
    output: int = 512
    overlap: bool = True

    def __post_init__(self) -> None:
        for name in ("batch", "prompt", "output"):
            if getattr(self, name) < 1:
                raise InputError(f"offline batch: {name}", str(getattr(self, name)), "at least 1")
        if self.kv_room <= 0:
            weights, memory = self.model.weight_bytes / 1e9, self.device.memory / 1e9
            raise Infeasible(
                f"{self.model.name} has {weights:.1f} GB of weights, {self.device.name} {memory:.1f} GB of memory"
            )

    @property
    def kv_room(self) -> float:
        """GPU bytes that the weights leave."""
        return self.device.memory - self.model.weight_bytes

    @property
    def context(self) -> Ints:
        """(output,) tokens of a sequence whose KV exists once step j has run."""
        return self.prompt + np.arange(self.output, dtype=np.int64)

    @property
    def tokens(self) -> int:
        """Output tokens in all."""
        return self.batch * self.output


@dataclass(frozen=True)
class Placement:
    """What a residency policy decides: how many tokens, summed over sequences, are where in each step, and what moves.

    A token is on the GPU, on the host, or dropped (to be recomputed when attended). Arrays are (steps,).

    Attributes:
        decoding: sequences that get one token from a decode in this step.
        prefill: prompt tokens computed.
        gpu, cpu, dropped: tokens in each place while the step runs.
        attended_gpu, attended_cpu, attended_dropped: tokens that the decoding sequences attend to, by the place where
            they stood when the step began (a token computed in this step counts as on the GPU).
        loaded: tokens copied host to GPU. `kept` of them stay there (a swap-in), the others are staged for this step.
        stored: tokens moved GPU to host.
        recomputed: dropped tokens whose KV is computed again, for this step only.
        freed, freed_cpu: tokens on the GPU, and on the host, of sequences that end with this step.
        window: tokens of the local window of sparse attention, of one sequence; 0 where attention is dense.
        kv_bits: 16 (FP16) or 8 (INT8) in both memories; computation is FP16.
        chosen: parameters that the policy settled on, by name, to be shown beside the metrics.
    """

    decoding: Ints
    prefill: Ints
    gpu: Ints
    cpu: Ints
    dropped: Ints
    attended_gpu: Ints
    attended_cpu: Ints
    attended_dropped: Ints
    loaded: Ints
    kept: Ints
    stored: Ints
    recomputed: Ints
    freed: Ints
    freed_cpu: Ints
    window: Ints
    kv_bits: int = 16
    chosen: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kv_bits not in (8, 16):
            raise InputError("kv_bits", str(self.kv_bits), "8 or 16")
        shape = self.decoding.shape
        for name in COLUMNS:
            if getattr(self, name).shape != shape:
                raise InputError(
                    f"placement: column {name}", str(getattr(self, name).shape), f"shape {shape}, as in decoding"
                )

    @classmethod
    def one_after_another(cls, waves: Sequence[Placement], chosen: Mapping[str, float]) -> Placement:
        """The placement of a batch that is generated in waves: each begins when the one before it has ended."""
        columns = {name: np.concatenate([getattr(wave, name) for wave in waves]) for name in COLUMNS}
        return cls(**columns, kv_bits=waves[0].kv_bits, chosen=chosen)

    @property
    def attended(self) -> Ints:
        """(steps,) tokens attended to."""
        return self.attended_gpu + self.attended_cpu + self.attended_dropped

    @property
    def existing(self) -> Ints:
        """(steps,) tokens of unfinished sequences, wherever they are."""
        return self.gpu + self.cpu + self.dropped


COLUMNS = tuple(f.name for f in fields(Placement) if f.type == "Ints")


@runtime_checkable
class ResidencyPolicy(Protocol):
    """Decides where the KV of every token lives in every step."""

    def plan(self, problem: OfflineBatch) -> Placement:
        """The placement of the whole generation.

        Raises:
            Infeasible: this policy has no placement within GPU and host memory.
        """
        ...
