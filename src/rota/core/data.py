"""Where measured data lies: traces and figures for tests and benchmarks, which are not part of the package."""

from __future__ import annotations

import os
from pathlib import Path

from rota.core.errors import InputError


def data_folder() -> Path | None:
    """The folder of shared data: `$ROTA_DATA`, else `shared/data` in the working folder or the nearest folder above it.

    Returns:
        The folder, or None where there is none.

    Raises:
        InputError: `ROTA_DATA` is set, and is not a folder.
    """
    named = os.environ.get("ROTA_DATA")
    if named:
        if not Path(named).is_dir():
            raise InputError("environment variable ROTA_DATA", repr(named), "an existing folder")
        return Path(named)
    here = Path.cwd()
    return next((f for f in (above / "shared" / "data" for above in (here, *here.parents)) if f.is_dir()), None)
