"""Where the cells of a study run: in this process, in processes of this machine, or on a Ray cluster.

Each way is a generator that takes the same jobs and hands back the same texts, in the order in which they finish.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

import rota
from rota.core.errors import InputError, RotaError, optional

WORKER = "ROTA_STUDY_WORKER"
"""Environment variable that marks a worker."""

Spec = dict[str, Any]
Answer = tuple[int, str | Exception]
"""Position of the job, and the JSON of what it gave, or the exception it ended in."""


def resolve(execute: str) -> Callable[[Spec], dict[str, Any]]:
    """The function behind `module:function`.

    Raises:
        InputError: there is no such module, or no such function in it.
    """
    module, _, function = execute.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError("execute", repr(execute), f"module:function that can be imported ({error})") from None
    return found


def run_one(execute: str, spec: Spec) -> str:
    """Run one job; JSON of its metrics, curves and seconds. Arrays and NumPy numbers become lists and numbers."""
    began = time.perf_counter()
    outcome = resolve(execute)(spec)
    seconds = round(time.perf_counter() - began, 6)
    whole = {"metrics": outcome["metrics"], "curves": outcome.get("curves", {}), "seconds": seconds}
    return json.dumps(whole, default=lambda value: value.tolist())


def run(execute: str, specs: Sequence[Spec], jobs: int | None, ray: str | None) -> Generator[Answer]:
    """On Ray if an address is given, else in `jobs` processes (default: one a processor), else here.

    Raises:
        InputError: called by a worker, which imports a module that starts a study: without this, an endless brood.
    """
    if WORKER in os.environ:
        raise InputError("study", "a start within a worker", 'the start under `if __name__ == "__main__":`')
    if ray is not None and specs:
        return on_ray(execute, specs, ray, jobs)
    count = min(jobs or _processors(), len(specs))
    return processes(execute, specs, count) if count > 1 else here(execute, specs)


def here(execute: str, specs: Sequence[Spec]) -> Generator[Answer]:
    """One after another, in this process."""
    for number, spec in enumerate(specs):
        yield number, _attempt(run_one, execute, spec)


def processes(execute: str, specs: Sequence[Spec], jobs: int) -> Generator[Answer]:
    """In `jobs` fresh processes, which end when this one does, however it ends."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin)
    try:
        with _plain_start():
            number = {pool.submit(run_one, execute, spec): i for i, spec in enumerate(specs)}
        for future in as_completed(number):
            yield number[future], _attempt(future.result)
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def on_ray(execute: str, specs: Sequence[Spec], address: str, jobs: int | None) -> Generator[Answer]:
    """As tasks of a Ray cluster: `local` starts one here with `jobs` workers, anything else is its address."""
    ray = optional("ray")
    own = not ray.is_initialized()
    if own:
        _reachable(address)
        _join(ray, address, jobs)
    try:
        task = ray.remote(max_retries=3)(_run_far)
        number = {task.remote(execute, spec, rota.__version__): i for i, spec in enumerate(specs)}
        while number:
            (done, *_), _ = ray.wait(list(number), num_returns=1)
            yield number.pop(done), _attempt(ray.get, done)
    finally:
        if own:
            ray.shutdown()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _attempt(function: Callable[..., str], *args: Any) -> str | Exception:
    try:
        return function(*args)
    except BrokenProcessPool:
        return RotaError("a worker process was killed (out of memory?); run again with fewer jobs")
    except Exception as error:
        return getattr(error, "cause", None) or error  # Ray wraps what the task raised


def _reachable(address: str) -> None:
    """Raise InputError at once if nobody listens at HOST:PORT; Ray itself would try for a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InputError("ray", repr(address), f"'local' or the address of a cluster ({error})") from None


def _join(ray: ModuleType, address: str, jobs: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError("ray", repr(address), f"'local' or the address of a cluster ({error})") from None


def _run_far(execute: str, spec: Spec, version: str) -> str:
    if rota.__version__ != version:
        raise InputError("Ray worker", f"rota {rota.__version__}", f"rota {version}, as where the study was started")
    os.environ[WORKER] = "1"
    return run_one(execute, spec)


def _begin() -> None:
    """In each worker process: mark it, and let it end with its parent."""
    os.environ[WORKER] = "1"
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _plain_start() -> Iterator[None]:
    """Start processes that neither import the caller's script again (it needs no `__main__` guard) nor see Ctrl-C."""
    main, aside = sys.modules["__main__"], threading.current_thread() is not threading.main_thread()
    handler = None if aside else signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
