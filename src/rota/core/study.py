"""Studies: many independent cells of work, run over processes or a Ray cluster, resumable at any moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rota.core import workers
from rota.core.errors import InputError, Interrupted, RotaError
from rota.core.results import Results, Row
from rota.core.store import Cell, Store

__all__ = ["Cell", "Results", "Row", "load", "run_study"]


def run_study(
    name: str,
    cells: Sequence[Cell],
    execute: str,
    *,
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> Results:
    """Run every cell that `out` does not hold yet, and give the results of all, in the order of `cells`.

    Args:
        name: what the study is called.
        cells: with distinct labels.
        execute: `module:function`; given a cell's spec, it returns `{"metrics": {name: number}}` and, if it likes,
            `"curves": {name: {"x": [...], "y": [...]}}`.
        out: folder that keeps finished cells; None keeps nothing.
        jobs: processes; default: as many as there are processors. 1 runs in this process.
        ray: `local`, or the address of a Ray cluster that runs the cells instead.
        progress: a bar on the terminal, if there is one.

    Raises:
        InputError: two cells with equal labels, or `out` holds another study or was made with other versions.
        Interrupted: Ctrl-C; finished cells are kept in `out`.
        RotaError: of a cell, with its labels. Any other exception of a cell is raised with its labels as a note.
    """
    if jobs is not None and jobs < 1:
        raise InputError("jobs", str(jobs), "at least 1")
    workers.resolve(execute)
    store = Store.open(name, cells, execute, None if out is None else Path(out))
    todo = [cell for cell in cells if cell.key not in store.rows]
    answers = workers.run(execute, [cell.spec for cell in todo], jobs, ray)
    with _stoppable(store), closing(answers), _bar(name, len(cells), len(todo), progress) as advance:
        for number, answer in answers:
            if isinstance(answer, Exception):
                _fail(todo[number], answer)
            store.keep(todo[number], answer)
            advance()
    return store.results()


def load(out: str | os.PathLike[str]) -> Results:
    """The finished cells of a study that was run before.

    Raises:
        InputError: the folder holds no study.
    """
    return Store.read(Path(out)).results()


def _fail(cell: Cell, error: Exception) -> NoReturn:
    if isinstance(error, InputError):
        raise type(error)(f"{cell}: {error.where}", error.found, error.expected) from error
    if isinstance(error, RotaError):
        raise RotaError(f"{cell}: {error}") from error
    error.add_note(f"in {cell}")
    raise error


@contextmanager
def _stoppable(store: Store) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = f"kept in {store.out}; the same command goes on from there" if store.out else "and not kept (no folder)"
        raise Interrupted(f"stopped with {store} finished, {kept}") from None


@contextmanager
def _bar(name: str, cells: int, todo: int, wanted: bool) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task(name, total=cells, completed=cells - todo)
        yield lambda: bar.advance(task)
