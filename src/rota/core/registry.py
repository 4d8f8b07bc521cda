"""Policies by name: `freeness`, `freeness(target_load=800)`; nothing is imported until it is asked for.

A domain such as `serving.dispatch` is the package `rota.serving.policies.dispatch`; the policy `round-robin` is its
module `round_robin`, which registers one class with `@policy`. Third parties register through the entry-point group
`rota.policies`, with entries named `DOMAIN.NAME`, e.g. `serving.dispatch.my-policy`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, TypeVar, get_type_hints

from rota.core.errors import InputError, UnknownName

GROUP = "rota.policies"
DOMAINS = (
    "serving.dispatch",
    "serving.reschedule",
    "serving.scale",
    "serving.order",
    "serving.preempt",
    "serving.swap",
    "serving.residency",
    "serving.lengths",
)

T = TypeVar("T")
_registered: dict[tuple[str, str], Entry] = {}


@dataclass(frozen=True)
class Entry:
    """One registered policy: `domain`, `name`, class, and the paper it comes from (a name of `rota reproduce`, or None)."""

    domain: str
    name: str
    factory: type
    paper: str | None = None

    @property
    def summary(self) -> str:
        """First line of the class docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Constructor arguments by name."""
        return dict(inspect.signature(self.factory).parameters)

    @property
    def spec(self) -> str:
        """The spec string with every default spelled out, e.g. `freeness(target_load=1600)`."""
        shown = ", ".join(f"{p.name}={p.default!r}" for p in self.parameters.values() if p.default is not p.empty)
        return f"{self.name}({shown})" if shown else self.name


def policy(domain: str, name: str, *, paper: str | None = None) -> Callable[[type[T]], type[T]]:
    """Class decorator: register a policy under `domain` and `name`. Its constructor arguments are its hyper-parameters."""

    def register(cls: type[T]) -> type[T]:
        _registered[domain, name] = Entry(domain, name, cls, paper)
        return cls

    return register


def names(domain: str) -> list[str]:
    """Names in a domain, sorted, without importing any of them."""
    if domain not in DOMAINS:
        raise UnknownName("policy domain", domain, DOMAINS)
    package = importlib.import_module(_package(domain))
    shipped = {info.name.replace("_", "-") for info in pkgutil.iter_modules(package.__path__)}
    local = {name for where, name in _registered if where == domain}
    return sorted(shipped | local | set(_third_party(domain)))


def entry(domain: str, name: str) -> Entry:
    """The registered policy; raises `UnknownName` with the nearest names."""
    if (domain, name) not in _registered:
        known = names(domain)
        if name not in known:
            raise UnknownName(f"{domain} policy", name, known)
        outside = _third_party(domain)
        if name in outside:
            outside[name].load()
        else:
            importlib.import_module(f"{_package(domain)}.{name.replace('-', '_')}")
    return _registered[domain, name]


def name_of(made: object) -> str:
    """The name a policy object's class is registered under; the class's own name if it is not."""
    found = (entry.name for entry in _registered.values() if entry.factory is type(made))
    return next(found, type(made).__name__)


def entries(domain: str | None = None) -> Iterator[Entry]:
    """Every registered policy of a domain, or of all; imports them."""
    for where in DOMAINS if domain is None else (domain,):
        for name in names(where):
            yield entry(where, name)


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """`freeness(target_load=800)` -> `("freeness", {"target_load": 800})`. Arguments are Python literals, by keyword."""
    name, bracket, rest = spec.strip().partition("(")
    if not bracket:
        return name.strip(), {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if (
            not isinstance(call, ast.Call)
            or not isinstance(call.func, ast.Name)
            or call.args
            or any(k.arg is None for k in call.keywords)
        ):
            raise ValueError(spec)
        return name.strip(), {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise InputError("policy spec", repr(spec), "name or name(parameter=value, ...)") from None


def make(domain: str, spec: Any, seed: int | None = None) -> Any:
    """A fresh policy from a spec string or a class; an instance is handed back as it is.

    Args:
        domain: e.g. `serving.dispatch`.
        spec: `freeness`, `freeness(target_load=800)`, a class, or an object.
        seed: given to a policy whose constructor takes a `seed` that the spec does not name.

    Raises:
        UnknownName: no such policy, or no such parameter.
        InputError: a value of the wrong type.
    """
    if isinstance(spec, type):
        return spec()
    if not isinstance(spec, str):
        return spec
    name, arguments = parse(spec)
    found = entry(domain, name)
    if seed is not None and "seed" in found.parameters:
        arguments = {"seed": seed, **arguments}
    hints = get_type_hints(inspect.getattr_static(found.factory, "__init__"))
    for key, value in arguments.items():
        if key not in found.parameters:
            raise UnknownName(f"parameter of {domain} policy {name}", key, found.parameters)
        _check_type(f"{name}({key}=...)", value, hints.get(key))
    return found.factory(**arguments)


def _check_type(where: str, value: Any, hint: Any) -> None:
    accepted = {float: (int, float), int: (int,), str: (str,), bool: (bool,)}.get(hint)
    wrong_bool = isinstance(value, bool) and hint in (int, float)
    if accepted and (wrong_bool or not isinstance(value, accepted)):
        raise InputError(where, repr(value), f"a value of type {hint.__name__}")


def _package(domain: str) -> str:
    room, _, family = domain.partition(".")
    return f"rota.{room}.policies.{family}"


def _third_party(domain: str) -> dict[str, Any]:
    found = entry_points(group=GROUP)
    return {e.name.rpartition(".")[2]: e for e in found if e.name.rpartition(".")[0] == domain}
