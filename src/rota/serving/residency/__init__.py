"""Offline batched generation on one GPU and its host: where the KV of each token lives, and what that costs."""

from rota.serving.residency.model import Device, ModelShape, OfflineBatch, Placement, ResidencyPolicy
from rota.serving.residency.presets import DEVICES, MODELS, offline_batch
from rota.serving.residency.simulate import ResidencyRun, simulate_residency

__all__ = [
    "DEVICES",
    "MODELS",
    "Device",
    "ModelShape",
    "OfflineBatch",
    "Placement",
    "ResidencyPolicy",
    "ResidencyRun",
    "offline_batch",
    "simulate_residency",
]
