"""Environments of the peers we are measured against: one virtual environment each, never Rota's own.

They lie under `$ROTA_PEERS`, else `build/peers` in this repository; `peers/NAME.txt` pins what goes into them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class NoPeer(Exception):
    """The peer cannot be had here; the sentence says why."""


def python(name: str) -> Path:
    """The interpreter of the peer's environment, which is made if need be.

    Raises:
        NoPeer: it cannot be installed.
    """
    place = Path(os.environ.get("ROTA_PEERS", HERE.parent / "build" / "peers")) / name
    interpreter = place / "bin" / "python"
    if not (place / "installed").exists():
        print(f"installing the peer {name} into {place} ...", file=sys.stderr)
        venv.create(place, with_pip=True)
        _run(
            name, interpreter, "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(HERE / "peers" / f"{name}.txt")
        )
        (place / "installed").touch()
    return interpreter


def ask(name: str, script: str, question: dict[str, Any], seconds: float = 600) -> dict[str, Any]:
    """What `peers/SCRIPT` answers to a question, as JSON, in the peer's environment.

    Raises:
        NoPeer: no environment, or the script failed.
    """
    return json.loads(_run(name, python(name), str(HERE / "peers" / script), json.dumps(question), seconds=seconds))


def _run(name: str, *command: str | Path, seconds: float = 600) -> str:
    quiet = {**os.environ, "DYN_LOG": "error", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(
            [str(c) for c in command], env=quiet, capture_output=True, text=True, timeout=seconds, check=True
        )
    except subprocess.TimeoutExpired:
        raise NoPeer(f"the peer {name} did not answer within {seconds:g} s") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise NoPeer(f"the peer {name} is not to be had here: {last}") from None
    return done.stdout
