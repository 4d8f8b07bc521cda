"""CASTILLO's data: ten sampled response lengths for each pair of prompt and model, as published.

Source: D. F. Perez-Ramirez, D. Kostic, M. Boman, "CASTILLO: Characterizing Response Length Distributions of Large
Language Models", arXiv 2505.16881 (2025); data set `danfperam/castillo` on Hugging Face, CC-BY-4.0. It is not part of
this package. 13 models x 7 corpora; prompts up to 2,500 tokens; a response that reached the limit of 15,000 stands as
15,001. Three configurations, each with splits train, test and validate: `original` (139,875 rows), `degenerate` (1,387)
and, by default, `sanitized` (139,872).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rota.core.errors import InputError, optional
from rota.serving.lengths.distribution import LengthDistribution
from rota.serving.lengths.predictor import Features
from rota.serving.model import Ints

LIMIT = 15_000
"""Most tokens a response could have."""

CONFIGS = ("sanitized", "original", "degenerate")
SPLITS = ("train", "test", "validate")


class Percentiles(msgspec.Struct, frozen=True):
    """Percentiles of the lengths of one row, tokens (linear interpolation)."""

    p25: float
    p50: float
    p75: float
    p99: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the data set, fields named as published: one prompt, one model, its sampled response lengths.

    Attributes:
        sample_id, prompt_id: hashes; a prompt keeps its `prompt_id` across models.
        model: name on Hugging Face with `--` for the slash.
        dataset: corpus of the prompt.
        input_size: prompt tokens.
        output_sizes: tokens of each response (10; fewer in `sanitized` where degenerate ones were taken out).
        output_mean, output_std, output_percentiles: their statistics, tokens; the standard deviation divides by n.
        temp, top_k, top_p: sampling settings.
        prompt_text, longest_response, shortest_response: texts.
        category: kind of task where the corpus knows it, else `undefined`.
        gen_time: seconds the generation took.
    """

    sample_id: str
    prompt_id: str
    model: str
    dataset: str
    input_size: int
    output_sizes: tuple[int, ...]
    output_mean: float
    output_std: float
    output_percentiles: Percentiles
    temp: float
    top_k: int
    top_p: float
    prompt_text: str = ""
    longest_response: str = ""
    shortest_response: str = ""
    category: str = "undefined"
    gen_time: float = float("nan")

    def __post_init__(self) -> None:
        if self.input_size < 1:
            raise ValueError(f"Expected `int` >= 1, got `{self.input_size}` - at `$.input_size`")
        if not self.output_sizes or min(self.output_sizes) < 1:
            raise ValueError(
                f"Expected lengths of at least 1 token, got `{list(self.output_sizes)}` - at `$.output_sizes`"
            )
        if abs(np.mean(self.output_sizes) - self.output_mean) > 0.01:
            mean = f"the mean of output_sizes, {np.mean(self.output_sizes):.2f}"
            raise ValueError(f"Expected {mean}, got `{self.output_mean}` - at `$.output_mean`")

    def distribution(self) -> LengthDistribution:
        """The empirical distribution of the lengths."""
        return LengthDistribution.of(self.output_sizes)

    @property
    def variation(self) -> float:
        """Coefficient of variation of the lengths within this row."""
        return self.output_std / self.output_mean


def row(
    *, model: str, dataset: str, input_size: int, output_sizes: Sequence[int], temp: float = 1.0, top_k: int = 0,
    top_p: float = 1.0, **others: Any,
) -> Sample:  # fmt: skip
    """A row from its lengths; the statistics are computed as published (rounded to 2 decimals)."""
    x = np.asarray(output_sizes, dtype=np.int64)
    percentiles = Percentiles(*np.round(np.percentile(x, [25, 50, 75, 99]), 2).tolist())
    identity = {"sample_id": "", "prompt_id": ""}
    return Sample(
        model=model, dataset=dataset, input_size=int(input_size), output_sizes=tuple(x.tolist()),
        output_mean=round(float(x.mean()), 2), output_std=round(float(x.std()), 2), output_percentiles=percentiles,
        temp=temp, top_k=top_k, top_p=top_p, **{**identity, **others},
    )  # fmt: skip


def published(folder: str | Path, config: str = "sanitized", split: str | None = None) -> list[Sample]:
    """Rows of a downloaded copy, laid out as published in `CONFIG/CONFIG_SPLIT.json`; all splits by default."""
    if config not in CONFIGS:
        raise InputError("CASTILLO configuration", repr(config), "one of " + ", ".join(CONFIGS))
    if split not in (None, *SPLITS):
        raise InputError("CASTILLO split", repr(split), "one of " + ", ".join(SPLITS))
    files = [Path(folder) / config / f"{config}_{name}.json" for name in SPLITS if split in (None, name)]
    return [sample for file in files for sample in read(file)]


def read(path: str | Path) -> list[Sample]:
    """Rows of one file: `.json` (an array), `.jsonl` (a row a line) or `.parquet` (Polars, extra `report`).

    Raises:
        InputError: no such file, an unknown kind, or a row that does not fit; names file, line or row, and field.
    """
    file = Path(path)
    readers = {".json": _json, ".jsonl": _lines, ".parquet": _parquet}
    if file.suffix not in readers:
        raise InputError(str(file), f"the suffix {file.suffix!r}", "one of " + ", ".join(readers))
    if not file.is_file():
        raise InputError(str(file), "no such file", "a file of CASTILLO rows")
    samples = [_sample(where, raw) for where, raw in readers[file.suffix](file)]
    if not samples:
        raise InputError(str(file), "no rows", "at least one")
    return samples


def _json(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = msgspec.json.decode(file.read_bytes())
    except msgspec.DecodeError as error:
        raise InputError(str(file), f"JSON that cannot be read ({error})", "an array of rows") from None
    if not isinstance(rows, list):
        raise InputError(str(file), f"a JSON {type(rows).__name__}", "an array of rows")
    for number, raw in enumerate(rows, 1):
        yield f"{file}: row {number}", raw


def _lines(file: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                yield f"{file}:{number}", msgspec.json.decode(line)
            except msgspec.DecodeError as error:
                raise InputError(
                    f"{file}:{number}", f"JSON that cannot be read ({error})", "one row as a JSON object"
                ) from None


def _parquet(file: Path) -> Iterator[tuple[str, Any]]:
    polars = optional("polars")
    try:
        frame = polars.read_parquet(file)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise InputError(str(file), f"Parquet that cannot be read ({error})", "a Parquet file of rows") from None
    for number, raw in enumerate(frame.iter_rows(named=True), 1):
        yield f"{file}: row {number}", raw


def _sample(where: str, raw: Any) -> Sample:
    try:
        return msgspec.convert(raw, Sample)
    except msgspec.ValidationError as error:
        raise _explained(where, str(error)) from None


def _explained(where: str, message: str) -> InputError:
    """`Expected X, got Y - at $.field` (msgspec's sentence, and that of `Sample`) as an error that names the field."""
    sentence, _, path = message.partition(" - at `$")
    field = path.strip("`.")
    place = f"{where}, field {field}" if field else where
    missing = re.search(r"missing required field `(\w+)`", sentence)
    if missing:
        return InputError(place, f"no {missing[1]}", "every field of the CASTILLO schema")
    expected, _, found = sentence.removeprefix("Expected ").partition(", got ")
    return InputError(place, found.strip("`") or "something else", expected.replace("`", ""))


def degenerate(sample: Sample, limit: int = LIMIT) -> Ints:
    """Which of the responses (indices) ran into the limit, as a text that repeats itself without end does."""
    return np.flatnonzero(np.asarray(sample.output_sizes) >= limit)


def sanitized(samples: Iterable[Sample], limit: int = LIMIT) -> list[Sample]:
    """The rows without their degenerate responses, statistics computed anew; a row without any other is left out.

    The published `sanitized` has three rows fewer than `original`, and 1,387 rows are `degenerate`, which fits this
    rule; the published program may do more.
    """
    kept: list[Sample] = []
    for sample in samples:
        sound = np.delete(np.asarray(sample.output_sizes), degenerate(sample, limit))
        if len(sound) == len(sample.output_sizes):
            kept.append(sample)
        elif len(sound):
            statistics = ("output_sizes", "output_mean", "output_std", "output_percentiles")
            others = {k: v for k, v in msgspec.structs.asdict(sample).items() if k not in statistics}
            kept.append(row(output_sizes=sound.tolist(), **others))
    return kept


def training(samples: Sequence[Sample]) -> tuple[Features, Ints]:
    """Features and lengths to fit a predictor on, a row a response; corpora, in alphabetical order, are tenants."""
    repeats = [len(sample.output_sizes) for sample in samples]
    columns = [
        np.array([sample.input_size for sample in samples]),
        np.unique([sample.dataset for sample in samples], return_inverse=True)[1],
        np.unique([sample.model for sample in samples], return_inverse=True)[1],
        np.zeros(len(samples), dtype=np.int64),
    ]
    lengths = np.array([size for sample in samples for size in sample.output_sizes], dtype=np.int64)
    return Features(*(np.repeat(column, repeats) for column in columns)), lengths
