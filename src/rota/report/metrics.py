"""What the name of a metric says: its meaning, unit, and which way is better."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rota.core.errors import UnknownName

Better = Literal["lower", "higher", None]

KNOWN: dict[str, tuple[str, str, Better]] = {
    "ttft": ("time to first token", "s", "lower"),
    "tpot": ("time per output token", "s", "lower"),
    "itl": ("time between tokens", "s", "lower"),
    "e2e": ("request latency", "s", "lower"),
    "queue": ("time queued", "s", "lower"),
    "preemption_loss": ("preemption loss", "s", "lower"),
    "downtime": ("migration downtime", "s", "lower"),
    "preemptions": ("preemptions", "", "lower"),
    "migrations": ("migrations", "", None),
    "throughput_rps": ("throughput", "requests/s", "higher"),
    "output_tps": ("output rate", "tokens/s", "higher"),
    "throughput_tps": ("output rate", "tokens/s", "higher"),
    "tbt": ("time between tokens, off the GPU included", "s", "lower"),
    "stall_share": ("engine stalled", "share", "lower"),
    "gpu_busy": ("GPU busy", "share", "higher"),
    "pcie_busy": ("link busy", "share", None),
    "loaded_bytes": ("loaded from the host", "bytes", "lower"),
    "recomputed_tokens": ("recomputed", "tokens", "lower"),
    "goodput": ("goodput", "", "higher"),
    "kv_usage": ("KV cache in use", "share", None),
    "prefix_hit_rate": ("prefix hits", "share", "higher"),
    "instances": ("instances", "", "lower"),
}
PREFERRED = (
    "ttft_mean",
    "ttft_p99",
    "tpot_p95",
    "e2e_mean",
    "preemption_loss_mean",
    "output_tps",
    "instances_mean",
    "stall_share",
    "throughput_tps",
    "gpu_busy",
    "pcie_busy",
    "loaded_bytes",
    "recomputed_tokens",
)
STATISTIC = re.compile(r"^(?P<stem>.+)_(?P<which>mean|max|min|p\d+)$")


@dataclass(frozen=True)
class Metric:
    """A metric: its `name` in results, `label` for people, `unit` ("" for a count), and which way is `better`."""

    name: str
    label: str
    unit: str
    better: Better

    @property
    def title(self) -> str:
        """Label and unit, as an axis wants it."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def describe(name: str) -> Metric:
    """The metric of that name, e.g. `ttft_p99` -> "time to first token, P99", s, lower; an unknown name stays."""
    found = STATISTIC.match(name)
    stem = found["stem"] if found else name
    label, unit, better = KNOWN.get(name) or KNOWN.get(stem) or (stem.replace("_", " "), "", None)
    return Metric(
        name, f"{label}, {_statistic(found['which'])}" if found and name not in KNOWN else label, unit, better
    )


def choose(available: Sequence[str], wanted: Iterable[str] | None = None, limit: int = 6) -> list[Metric]:
    """The metrics to show: the wanted ones, or else the well-known ones that are there, or else the first ones.

    Raises:
        UnknownName: a wanted metric that the results do not have.
    """
    if wanted is None:
        known = [name for name in PREFERRED if name in available]
        return [describe(name) for name in (known or list(available))[:limit]]
    chosen = list(dict.fromkeys(wanted))
    for name in chosen:
        if name not in available:
            raise UnknownName("metric", name, available)
    return [describe(name) for name in chosen]


def number(value: float, like: float | None = None) -> str:
    """Three significant digits, thousands parted, from ten millions on with M, G or T; a dash for what is not a number.

    Args:
        value: what to write.
        like: round to the place that this number would be rounded to, e.g. the half-width of an interval like its mean.
    """
    if not math.isfinite(value):
        return "–"
    size = abs(value if like is None or not math.isfinite(like) or like == 0 else like)
    if size == 0:
        return "0"
    if size < 1e-4:
        return f"{value:.2e}"
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= max(unit, 1e7):
            return f"{number(value / unit, size / unit)} {name}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def percent(share: float) -> str:
    """`-0.123` -> `−12 %`; a factor (`×14`) where the change is more than tenfold."""
    if share >= 9:
        return f"×{share + 1:.0f}"
    return f"{100 * share:+.0f} %".replace("-", "−")


def _statistic(which: str) -> str:
    if not which.startswith("p"):
        return which
    digits = which[1:]
    return f"P{digits}" if len(digits) < 3 else f"P{digits[:2]}.{digits[2:]}"
