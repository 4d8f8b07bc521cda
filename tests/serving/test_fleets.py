"""Fleets as text and as tables."""

import re

import pytest

from rota.core.errors import InputError, UnknownName
from rota.serving.fleets import fleet


def test_text_names_counts_and_kinds():
    made = fleet("2 x llama-7b/a10 + llama-3-8b/h100")
    assert [kind.name for kind in made.kinds] == ["llama-7b/a10", "llama-7b/a10", "llama-3-8b/h100"]
    assert made.name == "2 x llama-7b/a10 + llama-3-8b/h100"


def test_a_table_tunes_every_instance_and_the_fleet():
    made = fleet(
        {
            "instances": "3 x llama-7b/a10",
            "prefix_cache": True,
            "max_sequences": 8,
            "startup": 30.0,
            "initial": 1,
            "name": "mine",
        }
    )
    assert all(kind.prefix_cache and kind.max_sequences == 8 for kind in made.kinds)
    assert (made.startup, made.initial, made.name) == (30.0, 1, "mine")


def test_an_instance_may_come_from_a_file(tmp_path):
    text = 'name = "mine"\nblocks = 500\n[cost]\ntokens = [0, 1]\nseconds = [0.0, 0.001]\n'
    (tmp_path / "mine.toml").write_text(text)
    assert fleet(f"2 x {tmp_path}/mine.toml").kinds[1].blocks == 500


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("0 x llama-7b/a10", "fleet: found '0 x llama-7b/a10', expected e.g. '16 x"),
        ("two x llama-7b/a10", "fleet: found"),
        ("2 x llama-7b/a11", "did you mean llama-7b/a10"),
        ({"prefix_cache": True}, "fleet: found no `instances`"),
        ({"instances": "llama-7b/a10", "prefix_cash": True}, "did you mean prefix_cache"),
        (
            {"instances": "llama-7b/a10", "blocks": "many"},
            "llama-7b/a10: blocks: found 'many', expected a value such as",
        ),
        ({"instances": "llama-7b/a10", "blocks": True}, "llama-7b/a10: blocks: found True"),
        ({"instances": "llama-7b/a10", "blocks": 0}, "blocks: found 0, expected at least 1"),
        ({"instances": "llama-7b/a10", "counts_sent": "no"}, "counts_sent: found 'no', expected true or false"),
        ("missing.toml", "missing.toml: found"),
    ],
)
def test_mistakes_are_told_in_one_sentence(spec, sentence):
    with pytest.raises((InputError, UnknownName), match=re.escape(sentence)) as told:
        fleet(spec)
    assert "\n" not in str(told.value)


def test_fields_of_an_instance_can_be_set_in_brackets():
    one, two = fleet("llama-7b/a10(prefix_cache=True, blocks=300) + llama-7b/a10").kinds
    assert (one.prefix_cache, one.blocks) == (True, 300)
    assert (two.prefix_cache, two.blocks) == (False, 785)
    with pytest.raises(UnknownName, match="did you mean blocks"):
        fleet("llama-7b/a10(block=300)")
