"""Rota: the list that says who does what, when. Scheduling the work of AI systems, simulated and live.

The names a user types first stand here; each is imported when it is first used, so that `import rota` stays light.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rota.core.registry import Entry
    from rota.core.study import Results
    from rota.core.timeline import Timeline
    from rota.serving.model import Fleet, Instance, Workload
    from rota.serving.plan import plan
    from rota.serving.simulate import simulate
    from rota.serving.study import compare

__all__ = [
    "Fleet",
    "Instance",
    "Results",
    "Timeline",
    "Workload",
    "__version__",
    "compare",
    "plan",
    "policies",
    "simulate",
]

__version__ = version("rota")

_HOMES = {
    "Fleet": "rota.serving.model",
    "Instance": "rota.serving.model",
    "Results": "rota.core.study",
    "Timeline": "rota.core.timeline",
    "Workload": "rota.serving.model",
    "compare": "rota.serving.study",
    "plan": "rota.serving.plan",
    "simulate": "rota.serving.simulate",
}


def policies(domain: str | None = None) -> list[Entry]:
    """Every registered policy of a domain such as `serving.dispatch`, or of all domains.

    Raises:
        UnknownName: no such domain.
    """
    from rota.core.registry import entries

    return list(entries(domain))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rota' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
