"""Every error is one sentence, and survives the way back from a worker."""

import pickle
import sys

import pytest

from rota.core import errors
from rota.core.errors import InputError, MissingExtra, RotaError, RuleViolation, UnknownName, optional

ERRORS = [
    InputError("a.toml:3", "-1", "a number >= 0"),
    UnknownName("policy", "freenes", ["freeness", "random"]),
    MissingExtra("plotly", "report"),
    RuleViolation(["one", "two"]),
    errors.Infeasible("no fleet keeps it"),
    errors.Interrupted("stopped"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_errors_of_one_family_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(error, RotaError)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_sentence_says_where_what_and_what_else():
    assert str(ERRORS[0]) == "a.toml:3: found -1, expected a number >= 0"


def test_an_unknown_name_offers_the_nearest():
    assert str(ERRORS[1]) == "policy: found freenes, expected one of freeness, random (did you mean freeness?)"
    assert "did you mean" not in str(UnknownName("policy", "xyz", ["freeness"]))
    assert str(UnknownName("policy", "x", [])).endswith("nothing (none is registered)")


def test_a_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(errors.EXTRAS, "no_such_library", "report")
    with pytest.raises(MissingExtra, match=r'no_such_library is not installed.*pip install "rota\[report\]"'):
        optional("no_such_library.part")


def test_a_library_that_is_there_comes_back():
    assert optional("json") is sys.modules["json"]


def test_a_defect_inside_a_library_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "halfway.py").write_text("import something_else_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_else"):
        optional("halfway")


def test_five_violations_are_shown_and_the_rest_counted():
    text = str(RuleViolation([f"rule {i}" for i in range(8)]))
    assert text == "8 broken rule(s): rule 0; rule 1; rule 2; rule 3; rule 4; and 3 more"
