"""One module for each published system: what it claims, and the smallest convincing experiment on this machine.

The system `cp-rl-jobshop` is the module `cp_rl_jobshop`, which holds

    PAPER: str                    its citation
    CLAIMS: tuple[Stated, ...]    what the paper claims
    run(seeds=5, quick=False, progress=None) -> list[Claim]
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import rota
from rota.core.errors import InputError, UnknownName

if TYPE_CHECKING:
    from rota.reproduce.claims import Reproduction

NOT_SYSTEMS = ("claims",)


def names() -> list[str]:
    """Names of the systems, sorted; imports none of them."""
    modules = (info.name for info in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in modules if name not in NOT_SYSTEMS and not name.startswith("_"))


def load(name: str) -> ModuleType:
    """The module of a system, with its `PAPER`, `CLAIMS` and `run`.

    Raises:
        UnknownName: no such system.
    """
    if name not in names():
        raise UnknownName("system", name, names())
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def reproduce(
    name: str, *, seeds: int = 5, quick: bool = False, progress: Callable[[str], None] | None = None
) -> Reproduction:
    """Measure every claim of a system.

    Args:
        name: one of `names()`.
        seeds: repetitions, >= 2.
        quick: a smaller experiment, to look at; its verdicts may be undecided.
        progress: called with a line for each step.

    Raises:
        UnknownName: no such system.
        InputError: fewer than two seeds.
    """
    from rota.reproduce.claims import Reproduction

    if seeds < 2:
        raise InputError("seeds", str(seeds), "at least 2, so that there is an interval")
    module = load(name)
    began = time.perf_counter()
    claims = module.run(seeds=seeds, quick=quick, progress=progress)
    return Reproduction(name, module.PAPER, claims, seeds, round(time.perf_counter() - began, 3), rota.__version__)
