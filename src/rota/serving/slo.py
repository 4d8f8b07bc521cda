"""Service-level objectives as text: `ttft_p99<1s, tpot_p95<50ms, slo_attainment>0.99`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rota.core.errors import InputError, UnknownName

TERM = re.compile(r"\s*([a-z_0-9]+)\s*(<=|>=|<|>)\s*([0-9.eE+-]+)\s*(us|ms|s|min|h|%)?\s*$")
UNITS = {None: 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "%": 0.01}


@dataclass(frozen=True)
class Bound:
    """One promise: `metric` at most (or, with `least`, at least) `limit`."""

    metric: str
    limit: float
    least: bool = False

    def kept(self, value: float) -> bool:
        """Whether a measured value keeps the promise (NaN does not)."""
        return value >= self.limit if self.least else value <= self.limit

    def __str__(self) -> str:
        return f"{self.metric}{'>' if self.least else '<'}{self.limit:g}"


def parse(text: str, known: Mapping[str, float] | None = None) -> tuple[Bound, ...]:
    """The bounds in `text`, times in seconds.

    Args:
        text: terms `METRIC < NUMBER UNIT` with commas between; units us, ms, s, min, h, %; none means seconds.
        known: metrics there are, to check the names against.
    """
    bounds = []
    for term in text.split(","):
        match = TERM.match(term)
        if not match:
            raise InputError("--slo", repr(term.strip()), "terms such as 'ttft_p99<1s, tpot_p95<50ms'")
        metric, sign, number, unit = match.groups()
        if known is not None and metric not in known:
            raise UnknownName("--slo", metric, known)
        try:
            bounds.append(Bound(metric, float(number) * UNITS[unit], sign.startswith(">")))
        except ValueError:
            raise InputError("--slo", repr(number), "a number") from None
    return tuple(bounds)
