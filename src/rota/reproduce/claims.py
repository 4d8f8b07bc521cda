"""What a published system claims, beside what this machine measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from rota.core.errors import InputError

Verdict = Literal["holds", "does not hold", "not shown here"]
VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "not shown here")
COLOURS = {"holds": "green", "does not hold": "red", "not shown here": "yellow"}
FIELDS = ("id", "source", "paper_value", "measured", "interval", "baseline", "verdict", "differs")


@dataclass(frozen=True)
class Stated:
    """A claim as the paper makes it.

    Attributes:
        id: short and stable, e.g. `prefill-p99`.
        source: figure, table or sentence of the paper, e.g. `Fig. 11, L-L at 3.0 req/s`.
        statement: the claim, in one sentence of our own.
        paper_value: the figure that the paper gives (a number, or words such as `1.4-5.8x`), None if it gives none.
    """

    id: str
    source: str
    statement: str
    paper_value: float | str | None = None

    def measured(
        self,
        value: float | None,
        interval: tuple[float, float] | None,
        verdict: Verdict,
        *,
        baseline: Mapping[str, float] | None = None,
        differs: str = "",
    ) -> Claim:
        """This claim with what was measured; see `Claim`."""
        stated = (self.id, self.source, self.statement, self.paper_value)
        return Claim(*stated, value, interval, dict(baseline or {}) or None, verdict, differs)

    def not_shown(self, why: str) -> Claim:
        """This claim, which cannot be measured here."""
        return self.measured(None, None, "not shown here", differs=why)


@dataclass(frozen=True)
class Claim:
    """A claim of a paper and its measurement.

    Attributes:
        id, source, statement, paper_value: as in `Stated`.
        measured: what was measured here, in the unit of `paper_value`; None if nothing was.
        interval: 95 % interval of `measured` over seeds.
        baseline: the strongest simple alternative, with its own measured value: `{"round-robin": 12.3}`.
        verdict: `holds`, `does not hold` or `not shown here`.
        differs: what is different here (scale, hardware, data), in words.

    Raises:
        InputError: no such verdict.
    """

    id: str
    source: str
    statement: str
    paper_value: float | str | None
    measured: float | None
    interval: tuple[float, float] | None
    baseline: Mapping[str, float] | None
    verdict: Verdict
    differs: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InputError(f"claim {self.id}: verdict", repr(self.verdict), f"one of {', '.join(VERDICTS)}")


@dataclass(frozen=True)
class Reproduction:
    """All claims of one system, measured.

    Attributes:
        name: of the system, as in `rota reproduce NAME`.
        paper: its citation.
        claims: in the order of the paper.
        seeds: repetitions behind each interval.
        seconds: how long it took.
        version: of Rota.
    """

    name: str
    paper: str
    claims: Sequence[Claim]
    seeds: int
    seconds: float
    version: str

    def to_json(self) -> str:
        """One JSON object; a number that JSON cannot hold is null."""
        claims = [{name: _plain(value) for name, value in asdict(c).items() if name in FIELDS} for c in self.claims]
        rest = {"seeds": self.seeds, "seconds": self.seconds, "version": self.version}
        return json.dumps({"name": self.name, "paper": self.paper, "claims": claims, **rest}, allow_nan=False)

    def __rich__(self) -> Table:
        seeds = f"{self.seeds} seed{'s' if self.seeds != 1 else ''}"
        table = Table(title=self.paper, caption=f"{self.name}: {seeds}, {self.seconds:.0f} s, rota {self.version}")
        for heading in ("claim", "source", "paper", "measured", "baseline", "verdict", "differs"):
            table.add_column(heading, overflow="fold")
        for claim in self.claims:
            table.add_row(*_cells(claim))
        return table


def verdict(interval: tuple[float, float] | None, *, at_least: float = -math.inf, at_most: float = math.inf) -> Verdict:
    """`holds`: the whole interval is within the bounds; `does not hold`: none of it is; else `not shown here`."""
    if interval is None or math.isnan(interval[0]) or math.isnan(interval[1]):
        return "not shown here"
    low, high = interval
    if at_least <= low and high <= at_most:
        return "holds"
    return "does not hold" if high < at_least or low > at_most else "not shown here"


def _cells(claim: Claim) -> tuple[str, ...]:
    spread = f" [{claim.interval[0]:.4g}, {claim.interval[1]:.4g}]" if claim.interval else ""
    measured = "" if claim.measured is None else f"{claim.measured:.4g}{spread}"
    baseline = ", ".join(f"{name} {value:.4g}" for name, value in (claim.baseline or {}).items())
    word = f"[{COLOURS[claim.verdict]}]{claim.verdict}[/]"
    paper = "" if claim.paper_value is None else f"{claim.paper_value}"
    before, after = (claim.statement, claim.source, paper, measured, baseline), claim.differs
    return *map(escape, before), word, escape(after)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value
