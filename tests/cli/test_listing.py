import json

import pytest

import rota
from rota.cli import main
from rota.core.registry import DOMAINS, names


def listed(capsys, *arguments):
    assert main(["list", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_policy_is_listed(capsys):
    found = listed(capsys)
    assert [(one["domain"], one["name"]) for one in found] == [(d, n) for d in DOMAINS for n in names(d)]
    assert all(one["summary"].strip() for one in found)


def test_one_domain_and_all_of_a_room(capsys):
    assert {one["domain"] for one in listed(capsys, "serving.dispatch")} == {"serving.dispatch"}
    assert listed(capsys, "serving") == listed(capsys)


def test_defaults_are_what_the_constructor_has(capsys):
    for one in listed(capsys):
        for name, parameter in rota.core.registry.entry(one["domain"], one["name"]).parameters.items():
            shown = one["parameters"][name]["default"]
            assert parameter.default is parameter.empty or shown in (parameter.default, repr(parameter.default))


def test_the_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["list", "serving.dispatch"]) == 0
    shown = capsys.readouterr().out
    assert "serving.dispatch" in shown
    assert all(name in shown for name in names("serving.dispatch"))


def test_an_unknown_domain_offers_the_nearest(capsys):
    assert main(["list", "serving.oder"]) == 2
    assert "did you mean serving.order" in capsys.readouterr().err


@pytest.mark.parametrize("domain", [None, "serving.order"])
def test_the_same_from_python(domain):
    assert [entry.name for entry in rota.policies(domain)] == [
        n for d in DOMAINS if domain in (None, d) for n in names(d)
    ]
