"""Write the pages that come from the code: the policies, the published systems, the command line, the benchmarks.

    python docs/generate.py           write them
    python docs/generate.py --check   exit 1 if one of them is not up to date

The pages are committed; a test holds them against the code. Measured values come from `benchmarks/results`: from
`reproduce-NAME.json`, which is what `rota reproduce NAME --json` prints, and `FILE.json`, what `benchmarks/FILE.py --json` prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import rota
from rota.cli import app
from rota.cli.reproduce import systems

ROOT = Path(__file__).parent.parent
BENCHMARKS = {
    "fleet_speed": "How much faster is the fleet simulator than the offline replay of the Dynamo mocker, on the same requests, "
    "instances and step times; do both say the same; and how do time and memory grow?",
    "fleet_accuracy": "How far are predicted latencies from those measured on real GPUs, with presets as they are and after "
    "calibration, on rows that the fit has not seen?",
    "lr_overhead": "What does a step of the Torch adapter cost beside Torch's own schedulers and a plain loop, and what share of a "
    "small training step do it and the recorder of gradient norms take?",
}
NOTE = "<!-- Written by docs/generate.py from the code; change the code instead. -->\n\n"


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Every generated page by its path."""
    docs, results = root / "docs", root / "benchmarks" / "results"
    found = {docs / "policies.md": policies_page(), docs / "cli.md": cli_page()}
    found[docs / "benchmarks.md"] = benchmarks_page(results)
    for name, module in systems().items():
        found[docs / "systems" / f"{name}.md"] = system_page(
            name, module, _measured(results / f"reproduce-{name}.json")
        )
    return {path: NOTE + text for path, text in found.items()}


def policies_page() -> str:
    """Every registered policy, domain by domain."""
    parts = ["# Policies\n\nWhat `rota list` shows. A policy is named by its spec, `name` or `name(parameter=value)`."]
    for domain, entries in groupby(rota.policies(), lambda entry: entry.domain):
        rows = [(f"`{entry.spec}`", entry.summary, _system_link(entry.paper)) for entry in entries]
        parts.append(f"## {domain}\n\n{_table(('policy', 'what it does', 'system'), rows)}")
    return "\n\n".join(parts) + "\n"


def cli_page() -> str:
    """The help of every command, as if called by `rota` (cyclopts reads `sys.argv[0]` into some usage lines)."""
    with mock.patch.object(sys, "argv", ["rota"]):
        return app.generate_docs(usage_name="rota").rstrip() + "\n"


def system_page(name: str, module: ModuleType, measured: Mapping[str, Any] | None) -> str:
    """What a paper claims, and what was measured if it was."""
    parts = [f"# {name}", module.PAPER, (module.__doc__ or "").strip(), "## What the paper claims"]
    stated = [(f"`{c.id}`", c.statement, c.source, _said(c.paper_value)) for c in module.CLAIMS]
    parts.append(_table(("claim", "in one sentence", "source", "paper's value"), stated))
    parts.append(f"## What was measured\n\n{_measurements(name, measured)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def benchmarks_page(results: Path) -> str:
    """What each benchmark asks, and what was measured if it was."""
    parts = [
        "# Benchmarks",
        "Ratios, measured side by side in one run: absolute times are those of the machine that is named. `--json` prints what "
        "stands here; `benchmarks/README.md` has the options. What was claimed by papers stands on their pages under *Systems*.",
    ]
    for name, asked in BENCHMARKS.items():
        parts.append(f"## {name}\n\n{asked}\n\n```sh\npython benchmarks/{name}.py\n```")
        parts.append(_benchmark(_measured(results / f"{name}.json")))
    return "\n\n".join(parts) + "\n"


def _benchmark(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return "Not measured yet."
    head = ("question", "against", "measured", "goal", "detail")
    table = _table(head, [_benchmark_row(row) for row in measured["rows"]])
    return f"Machine: {measured['machine']}.\n\n{table}"


def _benchmark_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    goal = f"{row['goal']}: {'met' if row['met'] else 'not met'}" if row["goal"] else ""
    return row["question"], row["against"], f"{_said(row['value'])} {row['unit']}".strip(), goal, row["detail"]


def _measurements(name: str, measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return f"Run `rota reproduce {name}` to measure these claims on your machine."
    rows = [
        (
            f"`{c['id']}`",
            _said(c["measured"]),
            _interval(c["interval"]),
            _said(c["baseline"]),
            c["verdict"],
            c["differs"],
        )
        for c in measured["claims"]
    ]
    table = _table(("claim", "measured", "95 % interval", "baseline", "verdict", "what differs"), rows)
    seeds, seconds, version = measured["seeds"], measured["seconds"], measured["version"]
    return f"`rota reproduce {name}`, {seeds} seeds, {seconds:.0f} s, Rota {version}.\n\n{table}"


def _measured(path: Path) -> Mapping[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _system_link(name: str | None) -> str:
    return f"[{name}](systems/{name}.md)" if name in systems() else name or ""


def _interval(bounds: Sequence[float | None] | None) -> str:
    return "" if bounds is None else f"{_said(bounds[0])} to {_said(bounds[1])}"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def stale(root: Path = ROOT) -> list[Path]:
    """Pages that are missing, out of date, or of a system that is gone."""
    wanted = pages(root)
    changed = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return changed + [path for path in (root / "docs" / "systems").glob("*.md") if path not in wanted]


def main(arguments: Sequence[str]) -> int:
    """Write or check; the exit status."""
    old = stale()
    for path in old:
        print(path.relative_to(ROOT))
    if "--check" in arguments:
        return 1 if old else 0
    wanted = pages()
    for path in old:
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
