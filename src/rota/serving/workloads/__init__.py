"""Workloads: readers of the field's trace formats, seeded generators, and fitted models of public traces.

Anything that yields a workload has a name: `by_name("llumnix(trace='L-L', rate=3.0)", seed=1)`.
"""

from rota.serving.workloads.catalog import by_name, names
from rota.serving.workloads.read import read
from rota.serving.workloads.write import write

__all__ = ["by_name", "names", "read", "write"]
