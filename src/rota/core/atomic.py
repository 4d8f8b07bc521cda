"""Files that are either the old ones or the new ones, never half of either."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from rota.core.errors import InputError


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["w", "wb"] = "wb") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` when the block ends well, and vanishes when it does not.

    The bytes go to a hidden file beside the target, are flushed to the disk, and are renamed. A link is followed;
    devices and pipes are written directly.

    Args:
        path: the target; its folder must exist.
        mode: `w` for text (UTF-8, newlines as given), `wb` for bytes.

    Raises:
        InputError: the folder is missing, or nothing may be written there.
    """
    target = Path(path).resolve()
    direct = target.exists() and not target.is_file() and not target.is_dir()
    beside = target if direct else target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    text: dict[str, str] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "a folder")
        file = open(beside, mode, **text)  # type: ignore[call-overload]  # noqa: SIM115
    except OSError as error:
        raise InputError(str(path), (error.strerror or str(error)).lower(), "a file that can be written") from None
    try:
        with file:
            yield file
            file.flush()
            if not direct:
                os.fsync(file.fileno())
        if not direct:
            os.replace(beside, target)
    except BaseException:
        if not direct:
            beside.unlink(missing_ok=True)
        raise
