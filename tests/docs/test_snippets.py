"""What the README and the guide show is run: files with a title are written, Python blocks and `rota` lines executed."""

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rota.cli import main
from rota.core import registry

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = "<!-- Written by docs/generate.py"
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')


@pytest.fixture
def unregistered():
    """A policy that a page registers is gone when the page has been run."""
    yield
    for key in [key for key, entry in registry._registered.items() if entry.factory.__module__ == "page"]:
        del registry._registered[key]


def blocks(text):
    """(language, title or None, content) of every fenced block."""
    for language, rest, content in FENCE.findall(text):
        title = TITLE.search(rest)
        yield language, title and title[1], content


def commands(content):
    """The words of every `rota` line; a line that ends in a backslash goes on."""
    lines = content.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("rota ")]


@pytest.mark.usefixtures("unregistered")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch, capsys):
    text = page.read_text(encoding="utf-8")
    if text.startswith(GENERATED):
        pytest.skip("generated from the code: nothing in it is an example")
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")  # in sys.modules, so that what a page defines can be pickled
    monkeypatch.setitem(sys.modules, "page", module)
    for language, title, content in blocks(text):
        if title:
            Path(title).write_text(content, encoding="utf-8")
        if language == "python":
            exec(compile(content, page.name, "exec"), module.__dict__)
        for words in commands(content) if language == "console" else ():
            here = (
                ["--jobs", "1"] if words[0] in ("compare", "plan") else []
            )  # no process to start, no kernel to load again
            assert main([*words, *here]) == 0, f"rota {shlex.join(words)}: {capsys.readouterr().err}"


def test_blocks_are_found():
    text = '```toml title="a.toml"\nx = 1\n```\n\n```console\nrota list \\\n  --json # all\nmake\n```\n'
    assert list(blocks(text)) == [
        ("toml", "a.toml", "x = 1\n"),
        ("console", None, "rota list \\\n  --json # all\nmake\n"),
    ]
    assert commands("rota list \\\n  --json # all\nmake\n") == [["list", "--json"]]
