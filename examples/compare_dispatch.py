"""Which dispatch policy suits conversations that come back? Sessions with prefix caching, five seeds, one table.

python examples/compare_dispatch.py [conversations]
"""

import sys

from rich.console import Console

import rota
from rota.report.table import comparison

CANDIDATES = ("round-robin", "least-requests", "session-affinity", "prefix-aware")


def study(conversations: int) -> dict[str, object]:
    """What would stand in a study file, as a mapping."""
    return {
        "name": "Dispatch of conversations",
        "seeds": 5,
        "workload": [{"name": "chat", "use": f"sessions(n={conversations}, rate=4.0, think=20.0, system=256)"}],
        "fleet": [{"instances": "4 x llama-3-8b/a100", "prefix_cache": True}],
        "policies": [{"name": name, "dispatch": name} for name in CANDIDATES],
    }


if __name__ == "__main__":
    results = rota.compare(study(int(sys.argv[1]) if len(sys.argv) > 1 else 1000), progress=False)
    Console().print(comparison(results, ["ttft_mean", "ttft_p99", "tpot_p95", "prefix_hit_rate"], "round-robin"))
