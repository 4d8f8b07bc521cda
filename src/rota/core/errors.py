"""The errors a user can meet.

    RotaError
     ├─ InputError            a file, field, option or name that cannot be used as given
     │   └─ UnknownName       a name that is in no registry ("Did you mean ...?")
     ├─ MissingExtra          an optional library is not installed
     ├─ Infeasible            the question is well put, and has no answer
     ├─ Interrupted           the user stopped a long piece of work; what was finished is kept
     └─ RuleViolation         an outcome breaks a rule of its domain (raised by verifiers)

The command line prints the sentence of any `RotaError` and exits with status 2; a traceback is a defect of Rota.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Sequence
from types import ModuleType


class RotaError(Exception):
    """Root of every error that Rota raises on purpose."""


class InputError(RotaError):
    """Input that cannot be used. The sentence names where, what was found and what was expected.

    Args:
        where: file, `file:line`, field or option, as the user would name it.
        found: what stands there.
        expected: what would have been accepted.
    """

    def __init__(self, where: str, found: str, expected: str) -> None:
        self.where, self.found, self.expected = where, found, expected
        super().__init__(f"{where}: found {found}, expected {expected}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.where, self.found, self.expected)


class UnknownName(InputError):
    """A name that nothing is registered under; offers the nearest known ones."""

    def __init__(self, where: str, found: str, expected: str | Iterable[str]) -> None:
        known = expected if isinstance(expected, str) else _nearest(found, sorted(expected))
        super().__init__(where, found, known)


class MissingExtra(RotaError):
    """An optional library is not installed; the sentence names the extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        self.library, self.extra = library, extra
        super().__init__(f'{library} is not installed; it comes with the extra: pip install "rota[{extra}]"')

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.library, self.extra)


class Infeasible(RotaError):
    """The question is well put, and has no answer (no fleet size keeps the objective, say)."""


class Interrupted(RotaError):
    """The user stopped a long piece of work; what was finished is kept."""


class RuleViolation(RotaError):
    """An outcome breaks rules of its domain.

    Args:
        violations: one sentence for each broken rule; the message shows the first five.
    """

    def __init__(self, violations: Sequence[str]) -> None:
        self.violations = list(violations)
        shown = "; ".join(self.violations[:5])
        more = f"; and {len(self.violations) - 5} more" if len(self.violations) > 5 else ""
        super().__init__(f"{len(self.violations)} broken rule(s): {shown}{more}")

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:
        return type(self), (self.violations,)


# The one place that knows which extra brings which library.
EXTRAS = {
    "plotly": "report",
    "polars": "report",
    "scipy": "fit",
    "sklearn": "fit",
    "ray": "ray",
    "torch": "train",
    "transformers": "frameworks",
    "trl": "frameworks",
    "optax": "frameworks",
    "keras": "frameworks",
    "timm": "frameworks",
}


def optional(module: str) -> ModuleType:
    """Import an optional library, or raise `MissingExtra` naming the extra that brings it."""
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise MissingExtra(library, EXTRAS[library]) from None


def _nearest(found: str, known: list[str]) -> str:
    close = difflib.get_close_matches(found, known, n=3, cutoff=0.5)
    listing = "one of " + ", ".join(known) if known else "nothing (none is registered)"
    return f"{listing} (did you mean {' or '.join(close)}?)" if close else listing
