"""The command as a whole: help, errors as one sentence, exit statuses, what is (not) imported."""

import subprocess
import sys

import pytest
from cyclopts import App

import rota
from rota import cli
from rota.core.errors import InputError, Interrupted


def run(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "rota", *arguments], capture_output=True, text=True, timeout=60, **more
    )


@pytest.fixture
def raising(monkeypatch):
    """A command line whose command raises what it is given."""

    def install(error):
        app = App(
            result_action="return_value", exit_on_error=False, print_error=False, suppress_keyboard_interrupt=False
        )

        @app.default
        def fail() -> None:
            raise error

        monkeypatch.setattr(cli, "app", app)

    return install


def test_help_names_every_command_and_imports_nothing_heavy():
    heavy = ["numba", "polars", "plotly", "ray", "sklearn", "scipy", "rota.serving", "rota.report"]
    code = f"import sys; from rota.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f" {name} " in done.stdout for name in cli.COMMANDS)


def test_version():
    assert run("--version").stdout.strip() == rota.__version__


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"rota {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lst"], "list"),
        (["list", "--jsn"], "--json"),
        (["list", "serving.dispach"], "serving.dispatch"),
        (["reproduce", "--seeds", "many"], "many"),
        (["reproduce", "llumnixx"], "llumnixx"),
        (["compare", "no-such-study.toml"], "no-such-study.toml"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_sentence_and_status_2(arguments, sentence, capsys):
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("rota: ")
    assert shown.err.count("\n") == 1
    assert sentence in shown.err


def test_an_unknown_option_by_itself():
    done = run("--nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (InputError("field x", "1\n2", "3"), 2, "rota: field x: found 1 2, expected 3\n"),
        (KeyboardInterrupt(), 130, "rota: interrupted\n"),
        (Interrupted("stopped: kept"), 130, "rota: stopped: kept\n"),
        (PermissionError(13, "Permission denied", "/x"), 2, "rota: /x: Permission denied\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_statuses(raising, capsys, error, status, sentence):
    raising(error)
    assert cli.main([]) == status
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("defect", [ValueError("a defect"), OSError("no file in it")])
def test_a_defect_of_ours_is_not_hidden(raising, defect):
    raising(defect)
    with pytest.raises(type(defect)):
        cli.main([])


def test_a_pipe_whose_reader_leaves_is_quiet():
    command = f"{sys.executable} -m rota list --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1)  # 0 if all was written before the reader left
    assert (done.stdout, done.stderr) == ("[", "")
