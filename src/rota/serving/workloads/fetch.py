"""Public traces from their public homes: resumed where a download broke off, checked, and put in place whole."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from rota.core.errors import InputError, RotaError, UnknownName

PIECE = 1 << 20
"""Bytes read at a time."""


@dataclass(frozen=True)
class Home:
    """Where a trace lives.

    Attributes:
        url: of the file.
        licence: under which it is published.
        size: bytes, where known.
        sha256: of the whole file, where known; it is checked, and a file that fails is not kept.
    """

    url: str
    licence: str
    size: int | None = None
    sha256: str | None = None


_AZURE = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/790921015d50dd6aae7f7e47f39ba0e235ad6b08/data/"
_MOONCAKE = "https://raw.githubusercontent.com/kvcache-ai/Mooncake/{}/FAST25-release/traces/"
_BURSTGPT = "https://media.githubusercontent.com/media/HPMLL/BurstGPT/{}/data/"
_FIRST, _LATER = "5d93d820d9b6bee4e26914df003e5713538164ae", "1f52bc81aab7392cc30cc10b244396d9480b245d"

HOMES = {
    "azure-2023-code": Home(_AZURE + "AzureLLMInferenceTrace_code.csv", "CC-BY-4.0"),
    "azure-2023-conv": Home(_AZURE + "AzureLLMInferenceTrace_conv.csv", "CC-BY-4.0"),
    "burstgpt-1": Home(
        _BURSTGPT.format(_FIRST) + "BurstGPT_1.csv", "CC-BY-4.0", 52_283_111,
        "4bb3783693d0a435686fbfc885615d2349bd067239079fa4b749f2e679e12122",
    ),
    "burstgpt-1-without-fails": Home(
        _BURSTGPT.format(_FIRST) + "BurstGPT_without_fails_1.csv", "CC-BY-4.0", 51_429_517,
        "a4d068a7113ec0290e74063a1b3447dc6001a30e4298eb313581b71006dda1f4",
    ),
    "burstgpt-2": Home(
        _BURSTGPT.format(_FIRST) + "BurstGPT_2.csv", "CC-BY-4.0", 144_819_209,
        "44bf5942b03fca42c01a226a545ad3a750ec62688faecd67b6831c56a8928bf7",
    ),
    "burstgpt-2-without-fails": Home(
        _BURSTGPT.format(_LATER) + "BurstGPT_without_fails_2.csv", "CC-BY-4.0", 142_376_815,
        "56193aa9b2bb26128ded43d2d29a960df6bf5af062bcfc9b005f3fcaa4e6e501",
    ),
    "mooncake-conversation": Home(
        _MOONCAKE.format("a2a4b18ac537fd798d50e6e9f57031ce86419a37") + "conversation_trace.jsonl",
        "Apache-2.0", 3_029_533,
        "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df",
    ),
    "mooncake-synthetic": Home(
        _MOONCAKE.format("3cca71daccf2a7afb8fe3f0295358f70e3a69fdb") + "synthetic_trace.jsonl", "Apache-2.0", 1_136_313,
        "bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131",
    ),
    "mooncake-toolagent": Home(_MOONCAKE.format("main") + "toolagent_trace.jsonl", "Apache-2.0"),
}  # fmt: skip
"""Public traces, at fixed commits where one is known. Checksums: of BurstGPT as its repository's large-file pointers
state them, of Mooncake as computed from the two files; of the others none has been recorded, so only a complete arrival
is checked."""


@dataclass(frozen=True)
class Fetched:
    """A file that has arrived: where it is, its size and SHA-256, and whether that was `checked` against a known
    one."""

    path: Path
    size: int
    sha256: str
    checked: bool


class Unreachable(RotaError):
    """A public home cannot be reached; what has arrived so far is kept for the next try."""


def fetch(
    name: str,
    folder: str | PathLike[str] = ".",
    *,
    home: Home | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """Download a public trace, or go on with a download that broke off.

    Args:
        name: one of `HOMES`.
        folder: where the file goes.
        home: another home, e.g. a mirror.
        progress: called with the bytes so far and the bytes in all (None: not known).

    Raises:
        UnknownName: no such trace.
        Unreachable: no network, or the home does not answer.
        InputError: what arrived is not what was expected.
    """
    if home is None and name not in HOMES:
        raise UnknownName("trace", name, HOMES)
    place = home or HOMES[name]
    target = Path(folder) / place.url.rpartition("/")[2]
    if not target.parent.is_dir():
        raise InputError(str(folder), "no such folder", "an existing folder")
    partial = target.with_name(target.name + ".partial")
    if not target.is_file():
        _download(name, place, partial, progress)
        _check(place, partial)
        partial.replace(target)
    digest = _sha256(target)
    return Fetched(target, target.stat().st_size, digest, place.sha256 == digest)


def _download(name: str, home: Home, partial: Path, progress: Callable[[int, int | None], None] | None) -> None:
    have = partial.stat().st_size if partial.is_file() else 0
    if home.size is not None and have == home.size:
        return
    request = urllib.request.Request(home.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            resumed = answer.status == 206
            have = have if resumed else 0
            left = answer.headers.get("Content-Length")
            total = have + int(left) if left else home.size
            with open(partial, "ab" if resumed else "wb") as file:
                while piece := answer.read(PIECE):
                    file.write(piece)
                    have += len(piece)
                    if progress:
                        progress(have, total)
    except urllib.error.HTTPError as error:
        raise Unreachable(f"{name}: {home.url} answers {error.code} {error.reason}") from None
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"{name}: cannot reach {home.url} ({reason}); with no network, copy the file here by other means, "
            f"or use the fitted models that come with the package (`rota workload generate`)"
        ) from None
    if total is not None and have < total:
        raise Unreachable(
            f"{name}: the connection broke after {have:,} of {total:,} bytes; run it again to go on from there"
        )


def _check(home: Home, partial: Path) -> None:
    size, digest = partial.stat().st_size, _sha256(partial)
    wrong_size = home.size is not None and size != home.size
    if wrong_size or (home.sha256 is not None and digest != home.sha256):
        partial.unlink()
        expected = f"{home.size:,} bytes" if wrong_size else f"SHA-256 {home.sha256}"
        raise InputError(home.url, f"{size:,} bytes" if wrong_size else f"SHA-256 {digest}", expected)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
