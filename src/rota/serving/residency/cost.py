"""What a step of a placement costs: seconds by kind of work, step seconds, and the most GPU memory it takes.

All functions are element-wise over a placement's arrays, of any shape. Nothing is free: beside weights, attention and
transfers they count gathering the chosen K and V, the sum of attention scores with its top-k, and INT8 conversion. The
constants stand at the head of the file; they are assumptions unless a source is named.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rota.serving.residency.model import Floats, Ints, OfflineBatch, Placement

LINEAR_KERNELS = 10
"""Kernels a layer launches in any step: norms, projections, rotary or bias, attention, MLP."""
GATHER_KERNELS = 2
"""Extra kernels a layer for sparse attention: index K, index V."""
SUM_KERNELS = 3
"""Extra kernels a layer for sparse attention: sum over heads, sum over the window, top-k."""
CONVERT_KERNELS = 2
"""Kernels a layer to convert K and V to INT8; as many back to FP16."""
SELECT_PASSES = 2
"""Passes of the top-k selection over one 4-byte score a token (radix select)."""
STAGED_LAYERS = 2
"""Layers whose staged KV is on the GPU at once: one in use, one arriving (double buffer)."""


def work(problem: OfflineBatch, placement: Placement) -> dict[str, Floats]:
    """Seconds that each kind of work takes, in the order in which the GPU does it.

    * `compute`: roofline of the linear layers for all tokens of the step: weights read once, or 2 * parameters flops a
      token, whichever is longer; plus the quadratic attention of prefills.
    * `recompute`: what recomputed tokens add to that roofline, as they ride in the same pass through the weights (all
      layers must be run again, since a layer's K and V need its input), and their attention.
    * `gather`: the chosen K and V read at scattered rows and written densely.
    * `local-sum`: scores of the attended tokens summed over heads, then over the window's rows; top-k over all tokens.
    * `dequantise`, `quantise`: INT8 read, FP16 written for attended tokens; the reverse for new ones.
    * `attention`: K and V of attended tokens read in FP16.
    """
    shape, device = problem.model, problem.device
    fp16, stored = shape.kv_bytes(16), shape.kv_bytes(placement.kv_bits)
    attended, new = placement.attended, placement.decoding + placement.prefill
    sparse = (placement.window > 0) & (placement.decoding > 0)
    reduced = np.where(placement.kv_bits < 16, 1.0, 0.0)
    linear = _linear(problem, new)
    prefill = device.multiply(2.0 * shape.layers * shape.hidden * placement.prefill * problem.prompt)
    return {
        "compute": linear + prefill,
        "recompute": _linear(problem, new + placement.recomputed) - linear + _recomputed_attention(problem, placement),
        "gather": sparse * (device.read(2.0 * stored * attended) + _launch(problem, GATHER_KERNELS)),
        "local-sum": sparse * _local_sum(problem, placement),
        "dequantise": reduced
        * (device.read((stored + fp16) * attended) + _launch(problem, CONVERT_KERNELS) * (attended > 0)),
        "attention": device.read(fp16 * attended),
        "quantise": reduced * (device.read((stored + fp16) * new) + _launch(problem, CONVERT_KERNELS)),
    }


def transfers(problem: OfflineBatch, placement: Placement) -> dict[str, Floats]:
    """Seconds that the link is busy with `load` and `store`; one after the other, as on a half-duplex link."""
    rate = problem.model.kv_bytes(placement.kv_bits) / problem.device.link
    return {"load": rate * placement.loaded, "store": rate * placement.stored}


def step_seconds(problem: OfflineBatch, placement: Placement) -> Floats:
    """How long each step takes.

    Without overlap, transfers and then GPU work; with it, the longer of the two and one layer's part of the shorter.
    """
    gpu: Floats = sum(work(problem, placement).values(), start=np.zeros(1))
    pcie: Floats = sum(transfers(problem, placement).values(), start=np.zeros(1))
    if not problem.overlap:
        return gpu + pcie
    return np.maximum(gpu, pcie) + np.minimum(gpu, pcie) / problem.model.layers


def peak_bytes(problem: OfflineBatch, placement: Placement, before: Ints) -> Floats:
    """The most GPU bytes in use during each step.

    Weights; KV resident when the step begins (`before`, tokens) or ends, whichever is more (it changes layer by layer);
    tokens staged for the step or on their way out as soon as computed, `STAGED_LAYERS` layers of them; one layer's
    gathered or dequantised FP16 K and V; the window of head-summed scores. Activations are not counted (prefill in
    chunks keeps them small).
    """
    shape = problem.model
    kv = shape.kv_bytes(placement.kv_bits)
    passing = placement.loaded - placement.kept + placement.recomputed + np.maximum(placement.stored - before, 0)
    dense_copy = (placement.window > 0) | (placement.kv_bits < 16)
    scores = 4.0 * shape.layers * placement.decoding * placement.window**2
    return np.asarray(
        shape.weight_bytes
        + kv * np.maximum(before, placement.gpu)
        + kv * passing * min(1.0, STAGED_LAYERS / shape.layers)
        + dense_copy * shape.kv_bytes(16) / shape.layers * placement.attended
        + scores
    )


def fits(problem: OfflineBatch, placement: Placement, before: Ints) -> NDArray[np.bool_]:
    """Whether each step keeps within GPU and host memory; `before` as in `peak_bytes`."""
    host = problem.model.kv_bytes(placement.kv_bits) * placement.cpu
    return (peak_bytes(problem, placement, before) <= problem.device.memory) & (host <= problem.device.host_memory)


def total_seconds(problem: OfflineBatch, placement: Placement) -> Floats:
    """How long the generation takes, summed over the last axis; infinite where a step does not fit."""
    fit = fits(problem, placement, resident_before(placement)).all(axis=-1)
    return np.where(fit, step_seconds(problem, placement).sum(axis=-1), np.inf)


def resident_before(placement: Placement) -> Ints:
    """(..., steps) tokens on the GPU when each step begins."""
    left = placement.gpu - placement.freed
    return np.concatenate([np.zeros_like(left[..., :1]), left[..., :-1]], axis=-1)


def _linear(problem: OfflineBatch, tokens: Ints) -> Floats:
    device, shape = problem.device, problem.model
    roofline = np.maximum(device.read(shape.weight_bytes), device.multiply(2.0 * shape.parameters * tokens))
    return np.where(tokens > 0, roofline + _launch(problem, LINEAR_KERNELS), 0.0)


def _recomputed_attention(problem: OfflineBatch, placement: Placement) -> Floats:
    each = placement.attended / np.maximum(placement.decoding, 1)
    return problem.device.multiply(4.0 * problem.model.layers * problem.model.hidden * placement.recomputed * each)


def _local_sum(problem: OfflineBatch, placement: Placement) -> Floats:
    shape = problem.model
    scores = 2.0 * placement.attended * (shape.heads + placement.window)
    select = 4.0 * SELECT_PASSES * placement.existing
    return problem.device.read(shape.layers * (scores + select)) + _launch(problem, SUM_KERNELS)


def _launch(problem: OfflineBatch, kernels: int) -> float:
    return problem.model.layers * kernels * problem.device.launch
