"""The slow, obvious reference: one sequence's tokens in lists, one step after the other, formulas written out."""

from __future__ import annotations

from math import floor

from rota.serving.residency.model import OfflineBatch


def three_phase_seconds(
    problem: OfflineBatch, alpha: float, beta: float, p1: int, p2: int, ratio: float, kv_bits: int
) -> float:
    """Seconds of a three-phase generation; infinite where a step does not fit. Picks are uniform over age."""
    places: list[str] = []
    total = 0.0
    for j in range(problem.output):
        before = list(places)
        places += ["gpu"] * (problem.prompt if j == 0 else 1)
        n = len(places)
        k = floor(n * ratio / 2 + 0.5)
        k = 0 if 2 * k >= n else k
        off = min(floor(alpha * n + 0.5), n - floor(n * ratio / 2 + 0.5)) if j >= p1 else 0
        drop = floor(beta * off + 1e-9) if j >= p2 else 0
        for i in range(off):
            places[i] = "dropped" if i < drop else "cpu"
        stored = sum(new == "cpu" and old == "gpu" for old, new in zip(before + ["gpu"] * n, places, strict=False))
        picks = min(k, n - k) if k else n
        loaded, recomputed = _picked(before, picks, n - k) if j else (0, 0)
        if not _fits(problem, before, places, loaded, recomputed, stored, k, picks, kv_bits, j):
            return float("inf")
        total += _step(problem, n, k, k + picks if j else 0, loaded, recomputed, stored, kv_bits, j)
    return total


def _picked(before: list[str], picks: int, old: int) -> tuple[int, int]:
    """How many of the picks are on the host, and dropped."""

    def among(region: int) -> int:
        return min(max(floor(picks * region / old + 0.5), picks - (old - region)), picks, region)

    dropped = before.count("dropped")
    off = before.count("cpu") + dropped
    return among(off) - among(dropped), among(dropped)


def _fits(p: OfflineBatch, before, after, loaded, recomputed, stored, k, picks, bits, j) -> bool:
    layer, kv = 4 * p.model.hidden, 4 * p.model.hidden * p.model.layers * bits // 16
    resident = max(before.count("gpu"), after.count("gpu")) * kv
    passing = (loaded + recomputed + max(0, stored - before.count("gpu"))) * kv * min(1, 2 / p.model.layers)
    copies = (k + picks) * layer if j and (k or bits == 8) else 0
    scores = 4 * p.model.layers * k * k if j else 0
    gpu = 2 * p.model.parameters + p.batch * (resident + passing + copies + scores)
    return gpu <= p.device.memory and p.batch * after.count("cpu") * kv <= p.device.host_memory


def _step(p: OfflineBatch, n, k, attended, loaded, recomputed, stored, bits, j) -> float:
    m, d, b = p.model, p.device, p.batch
    bandwidth, flops, launch = d.bandwidth * d.bandwidth_share, d.flops * d.flops_share, m.layers * d.launch
    fp16, kv = 4 * m.hidden * m.layers, 4 * m.hidden * m.layers * bits / 16
    new = p.prompt if j == 0 else 1

    def linear(tokens: int) -> float:
        return max(2 * m.parameters / bandwidth, 2 * m.parameters * b * tokens / flops) + 10 * launch

    gpu = linear(new + recomputed) + b * attended * fp16 / bandwidth
    gpu += 4 * m.layers * m.hidden * b * recomputed * attended / flops
    if j == 0:
        gpu += 2 * m.layers * m.hidden * b * p.prompt * p.prompt / flops
    elif k:
        gpu += 2 * b * attended * kv / bandwidth + 2 * launch
        gpu += m.layers * b * (2 * attended * (m.heads + k) + 8 * n) / bandwidth + 3 * launch
    if bits == 8:
        gpu += b * (attended + new) * (kv + fp16) / bandwidth + (4 if j else 2) * launch
    pcie = b * (loaded + stored) * kv / d.link
    return max(gpu, pcie) + min(gpu, pcie) / m.layers if p.overlap else gpu + pcie
