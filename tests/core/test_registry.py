"""Policies by name and by spec string."""

from importlib.metadata import EntryPoint

import pytest

from rota.core import registry
from rota.core.errors import InputError, UnknownName
from rota.core.registry import entries, entry, make, names, parse, policy

DISPATCH = "serving.dispatch"


@pytest.fixture
def own(monkeypatch):
    """A policy of our own, registered for one test."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @policy(DISPATCH, "my-own", paper="llumnix")
    class MyOwn:
        """Sends everything to one place.

        And more.
        """

        def __init__(self, where: int = 0, share: float = 0.5, name: str = "x", strict: bool = False, seed: int = 0):
            self.where, self.share, self.name, self.strict, self.seed = where, share, name, strict, seed

    return MyOwn


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("freeness", ("freeness", {})),
        (" freeness ", ("freeness", {})),
        ("freeness()", ("freeness", {})),
        ("freeness(target_load=1600)", ("freeness", {"target_load": 1600})),
        ("a(b=-0.5, c='x', d=[1, 2], e=None)", ("a", {"b": -0.5, "c": "x", "d": [1, 2], "e": None})),
    ],
)
def test_parse(spec, parsed):
    assert parse(spec) == parsed


@pytest.mark.parametrize("spec", ["a(1)", "a(b=c)", "a(b=1", "a(**{})", "a(b=f())", "a(b=1) c"])
def test_a_spec_that_is_none(spec):
    with pytest.raises(InputError, match="policy spec"):
        parse(spec)


def test_an_entry_describes_its_class(own):
    found = entry(DISPATCH, "my-own")
    assert (found.factory, found.paper, found.summary) == (own, "llumnix", "Sends everything to one place.")
    assert list(found.parameters) == ["where", "share", "name", "strict", "seed"]
    assert found.spec == "my-own(where=0, share=0.5, name='x', strict=False, seed=0)"
    assert vars(make(DISPATCH, found.spec)) == vars(own())
    assert "my-own" in names(DISPATCH)


def test_make_takes_spec_class_or_object(own):
    assert make(DISPATCH, "my-own(where=3, share=1)").where == 3
    assert isinstance(make(DISPATCH, own), own)
    mine = own(where=9)
    assert make(DISPATCH, mine) is mine
    assert make(DISPATCH, "my-own") is not make(DISPATCH, "my-own")


def test_make_hands_on_a_seed_that_the_spec_does_not_name(own):
    assert make(DISPATCH, "my-own", seed=5).seed == 5
    assert make(DISPATCH, "my-own(seed=1)", seed=5).seed == 1


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("my-own(wher=1)", "did you mean where"),
        ("my-own(where=1.5)", r"my-own\(where=...\): found 1.5, expected a value of type int"),
        ("my-own(where=True)", "of type int"),
        ("my-own(share='half')", "of type float"),
        ("my-own(name=1)", "of type str"),
        ("my-own(strict=1)", "of type bool"),
        ("my-won", "did you mean my-own"),
    ],
)
def test_a_parameter_or_name_that_does_not_fit(own, spec, sentence):
    with pytest.raises(InputError, match=sentence):
        make(DISPATCH, spec)


def test_a_domain_that_is_none():
    with pytest.raises(UnknownName, match=r"did you mean serving\.dispatch"):
        names("serving.dispatc")


def test_third_parties_register_by_entry_point(monkeypatch, own):
    point = EntryPoint(f"{DISPATCH}.far-away", "test_registry:FarAway", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == registry.GROUP else [])
    assert "far-away" in names(DISPATCH)
    assert "far-away" not in names("serving.order")


def test_everything_shipped_can_be_found_under_its_own_name():
    for found in entries():
        module = found.factory.__module__
        assert module.startswith("rota."), found
        assert module.rpartition(".")[2].replace("_", "-") == found.name
        assert found.name in names(found.domain)


def test_name_of_is_the_registered_name_or_the_class():
    assert registry.name_of(registry.make("serving.dispatch", "least-load")) == "least-load"
    assert registry.name_of(object()) == "object"
