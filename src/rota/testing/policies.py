"""What every policy must keep, whatever it decides."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import msgspec
import numpy as np

from rota.core import registry
from rota.core.errors import RotaError, RuleViolation


@dataclass(frozen=True)
class Question:
    """One decision asked of a policy.

    Attributes:
        ask: given a policy, calls it with the views and gives its answer.
        views: what the policy gets to see, and must not change.
        judge: given the answer, one sentence for each rule of the domain that it breaks.
    """

    ask: Callable[[Any], Any]
    views: tuple[Any, ...]
    judge: Callable[[Any], list[str]]


Questions = Callable[[np.random.Generator], Sequence[Question]]


def check_policy(
    policy: registry.Entry | type, domain: str, *, questions: Questions | None = None, seeds: int = 5
) -> None:
    """Raise `RuleViolation` unless a policy keeps the contract of policies, and the rules of its domain.

    It has a docstring that begins with a sentence; its constructor arguments are typed and have defaults; it can be
    made from its spec string; fresh ones give the same answers to the same questions, also when pickled half-way; the
    views are left as they were; and its answers are allowed.

    Args:
        policy: a registered policy, or a class (registered or not).
        domain: e.g. `serving.dispatch`.
        questions: what to ask, from a random generator (default: those of the domain, if it has any).
        seeds: how many generators.
    """
    broken = violations(policy, domain, questions=questions, seeds=seeds)
    if broken:
        raise RuleViolation(broken)


def violations(
    policy: registry.Entry | type, domain: str, *, questions: Questions | None = None, seeds: int = 5
) -> list[str]:
    """What `check_policy` finds, one sentence each."""
    entry = policy if isinstance(policy, registry.Entry) else registry.Entry(domain, policy.__name__, policy)
    broken = [*_docstring(entry), *_parameters(entry)]
    if all(p.default is not p.empty for p in entry.parameters.values()):
        broken += _spec(entry)
        for seed in range(seeds):
            broken += _conduct(entry.factory, questions or _of_domain(domain), seed)
    return [f"{domain} {entry.name}: {text}" for text in dict.fromkeys(broken)]


def _docstring(entry: registry.Entry) -> list[str]:
    if not vars(entry.factory).get("__doc__"):
        return ["the class has no docstring"]
    return [] if entry.summary.endswith(".") else ["the first line of the docstring is not a sentence"]


def _parameters(entry: registry.Entry) -> list[str]:
    parameters = entry.parameters.values()
    untyped = [f"the constructor argument {p.name} has no type" for p in parameters if p.annotation is p.empty]
    return untyped + [f"the constructor argument {p.name} has no default" for p in parameters if p.default is p.empty]


def _spec(entry: registry.Entry) -> list[str]:
    defaults = {p.name: p.default for p in entry.parameters.values()}
    try:
        name, arguments = registry.parse(entry.spec)
        if (name, arguments) != (entry.name, defaults):
            return [f"the spec {entry.spec} does not give the defaults back"]
        if not isinstance(entry.factory(**arguments), entry.factory):
            return [f"the spec {entry.spec} makes something else"]
    except RotaError as error:
        return [f"the spec {entry.spec} makes no policy: {error}"]
    return []


def _conduct(factory: type, questions: Questions, seed: int) -> list[str]:
    asked = questions(np.random.default_rng(seed))
    before = [_content(question.views) for question in asked]
    answers = _answers(factory(), asked)
    broken = [text for question, answer in zip(asked, answers, strict=True) for text in question.judge(answer)]
    if [_content(question.views) for question in asked] != before:
        return [*broken, "a view was changed"]
    if _content(_answers(factory(), asked)) != _content(answers):
        broken.append("a fresh one answers the same questions otherwise")
    half = len(asked) // 2
    first, later = factory(), asked[half:]
    _answers(first, asked[:half])
    try:
        revived = pickle.loads(pickle.dumps(first))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        return [*broken, f"it cannot be pickled ({error})"]
    if _content(_answers(revived, later)) != _content(answers[half:]):
        broken.append("after a pickle round trip it answers otherwise")
    return broken


def _answers(policy: Any, asked: Sequence[Question]) -> list[Any]:
    return [question.ask(policy) for question in asked]


def _content(value: Any) -> Any:
    """The value as nested tuples that compare by content; what cannot be looked into compares by identity."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return tuple((name, _content(inner)) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(_content, value))
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, tuple(_content(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, msgspec.Struct):
        return type(value).__name__, tuple(_content(getattr(value, name)) for name in value.__struct_fields__)
    return value if isinstance(value, bool | int | float | str | np.generic | None) else id(value)


def _of_domain(domain: str) -> Questions:
    from rota.testing.serving import QUESTIONS

    return QUESTIONS.get(domain, lambda _: ())
