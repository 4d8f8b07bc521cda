"""Models and GPUs of ALISA's evaluation (Zhao et al., ISCA 2024): OPT and LLaMA on V100 and H100, with a 20 GB/s link.

Shapes are those of the model cards, with nominal parameter counts; memory is in decimal gigabytes, GPU peaks are of the
vendor's data sheets (V100-PCIe/SXM2 900 GB/s, 125 TFLOP/s; H100-SXM 3.35 TB/s, 989 TFLOP/s dense FP16).
"""

from __future__ import annotations

from rota.core.errors import UnknownName
from rota.serving.residency.model import Device, ModelShape, OfflineBatch

MODELS = {
    shape.name: shape
    for shape in (
        ModelShape("opt-6.7b", 32, 4096, 32, 6.7e9),
        ModelShape("opt-13b", 40, 5120, 40, 13e9),
        ModelShape("opt-30b", 48, 7168, 56, 30e9),
        ModelShape("llama-7b", 32, 4096, 32, 6.74e9),
        ModelShape("llama-13b", 40, 5120, 40, 13e9),
        ModelShape("llama-33b", 60, 6656, 52, 32.5e9),
    )
}
DEVICES = {
    device.name: device
    for device in (
        Device("v100-16gb", 16e9, 900e9, 125e12),
        Device("v100-32gb", 32e9, 900e9, 125e12),
        Device("h100-80gb", 80e9, 3.35e12, 989e12),
    )
}


def offline_batch(name: str, batch: int, prompt: int = 128, output: int = 512, *, overlap: bool = True) -> OfflineBatch:
    """A batch on a named pair, e.g. `offline_batch("opt-30b/h100-80gb", 64)`; the lengths default to ALISA's (Alpaca).

    Raises:
        UnknownName: no such model or device.
        InputError, Infeasible: as `OfflineBatch`.
    """
    model, _, device = name.partition("/")
    if model not in MODELS:
        raise UnknownName("model", model, MODELS)
    if device not in DEVICES:
        raise UnknownName("device", device, DEVICES)
    return OfflineBatch(MODELS[model], DEVICES[device], batch, prompt, output, overlap)
