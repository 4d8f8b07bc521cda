import json
import math

import numpy as np
import pytest

from rota.core.errors import InputError
from rota.serving.lengths.castillo import degenerate, published, read, row, sanitized, training
from rota.serving.lengths.statistics import statistics, table

# The figures of a published row (prompt b3b46dc8266d7cd1, CC-BY-4.0, arXiv 2505.16881); its texts are left out.
PUBLISHED = {
    "sample_id": "c6f2f26bfbdd7ce0", "prompt_id": "b3b46dc8266d7cd1", "model": "meta-llama--Llama-3.2-1B-Instruct",
    "dataset": "Mbpp", "prompt_text": "", "longest_response": "", "shortest_response": "", "input_size": 189,
    "output_sizes": [616, 505, 543, 696, 530, 674, 518, 447, 616, 562], "output_mean": 570.7, "output_std": 74.41,
    "output_percentiles": {"p25": 521.0, "p50": 552.5, "p75": 616.0, "p99": 694.02},
    "top_k": 50, "top_p": 0.9, "temp": 0.6, "category": "undefined", "gen_time": 7.30193,
}  # fmt: skip


def changed(**fields):
    return {**PUBLISHED, **fields}


@pytest.fixture
def file(tmp_path):
    def write(rows, suffix=".json"):
        path = tmp_path / f"rows{suffix}"
        text = json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows))
        path.write_text(text)
        return path

    return write


def test_a_published_row_is_read_as_it_stands(file):
    (sample,) = read(file([PUBLISHED]))
    assert sample.dataset == "Mbpp"
    assert sample.output_sizes[3] == 696
    assert sample.output_percentiles.p99 == 694.02
    assert (sample.temp, sample.top_k, sample.top_p) == (0.6, 50, 0.9)
    assert sample.variation == pytest.approx(74.41 / 570.7)
    assert sample.distribution().quantile(0.99) == 696


def test_computed_statistics_are_those_of_the_publishers():
    figures = {k: PUBLISHED[k] for k in ("model", "dataset", "input_size", "output_sizes", "temp", "top_k", "top_p")}
    mine = row(**figures)
    assert mine.output_mean == PUBLISHED["output_mean"]
    assert mine.output_std == PUBLISHED["output_std"]
    assert mine.output_percentiles.p25 == 521.0
    assert mine.output_percentiles.p99 == 694.02


def test_lines_arrays_and_parquet_give_the_same_rows(file, tmp_path):
    polars = pytest.importorskip("polars")
    rows = [PUBLISHED, changed(model="other", temp=1.0)]
    polars.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    expected = read(file(rows))
    assert read(file(rows, ".jsonl")) == expected
    assert read(tmp_path / "rows.parquet") == expected


def test_the_published_layout_of_files(tmp_path):
    for split, model in (("train", "a"), ("test", "b"), ("validate", "c")):
        target = tmp_path / "sanitized" / f"sanitized_{split}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps([changed(model=model)]))
    assert [s.model for s in published(tmp_path)] == ["a", "b", "c"]
    assert [s.model for s in published(tmp_path, split="test")] == ["b"]
    with pytest.raises(InputError, match="found 'raw', expected one of sanitized, original, degenerate"):
        published(tmp_path, "raw")
    with pytest.raises(InputError, match="found 'dev', expected one of train, test, validate"):
        published(tmp_path, split="dev")
    with pytest.raises(InputError, match=r"original_train.json: found no such file"):
        published(tmp_path, "original")


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (changed(input_size="many"), r"row 2, field input_size: found str, expected int$"),
        (changed(input_size=0), r"row 2, field input_size: found 0, expected int >= 1$"),
        (changed(output_sizes=[]), r"row 2, field output_sizes: found \[\], expected lengths of at least 1 token$"),
        (changed(output_sizes=[5, -2]), r"row 2, field output_sizes: found \[5, -2\], expected lengths"),
        (changed(output_sizes=[5, "x"]), r"row 2, field output_sizes\[1\]: found str, expected int$"),
        (
            changed(output_mean=999.0),
            r"row 2, field output_mean: found 999.0, expected the mean of output_sizes, 570.70$",
        ),
        (changed(output_mean=None), r"row 2, field output_mean: found null, expected float$"),
        ({k: v for k, v in PUBLISHED.items() if k != "temp"}, r"row 2: found no temp, expected every field"),
        (changed(output_percentiles={"p25": 1.0}), r"row 2, field output_percentiles: found no p50, expected every"),
        (7, r"row 2: found int, expected object$"),
    ],
)
def test_a_bad_row_is_named_with_its_field(file, bad, sentence):
    with pytest.raises(InputError, match=sentence):
        read(file([PUBLISHED, bad]))


def test_a_bad_line_is_named_by_its_number(file, tmp_path):
    with pytest.raises(InputError, match=r"rows.jsonl:2, field temp: found str, expected float"):
        read(file([PUBLISHED, changed(temp="hot")], ".jsonl"))
    path = tmp_path / "cut.jsonl"
    path.write_text(json.dumps(PUBLISHED) + "\n" + json.dumps(PUBLISHED)[:40])
    with pytest.raises(InputError, match=r"cut.jsonl:2: found JSON that cannot be read"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("cut.json", b'[{"sample', "found JSON that cannot be read"),
        ("one.json", b"{}", "found a JSON dict, expected an array of rows"),
        ("none.json", b"[]", "found no rows, expected at least one"),
        ("none.jsonl", b"\n", "found no rows, expected at least one"),
        ("rows.csv", b"a,b", "found the suffix '.csv', expected one of .json, .jsonl, .parquet"),
        ("cut.parquet", b"PAR1", "found Parquet that cannot be read"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read(tmp_path / name)


def test_degenerate_responses_are_found_and_taken_out():
    looping = row(model="m", dataset="d", input_size=84, output_sizes=[15001, 438, 390, 15000], temp=0.7)
    hopeless = row(model="m", dataset="d", input_size=84, output_sizes=[15001, 15001])
    sound = row(model="m", dataset="d", input_size=84, output_sizes=[400, 410])
    assert degenerate(looping).tolist() == [0, 3]
    cleaned = sanitized([looping, hopeless, sound])
    assert [s.output_sizes for s in cleaned] == [(438, 390), (400, 410)]
    assert cleaned[0].output_mean == 414
    assert cleaned[0].temp == 0.7
    assert cleaned[1] is sound


def test_the_table_by_corpus_and_model():
    rows = [
        row(model="m", dataset="b", input_size=9, output_sizes=[100, 100, 100]),
        row(model="m", dataset="b", input_size=9, output_sizes=[200, 200, 200]),
        row(model="m", dataset="a", input_size=9, output_sizes=[90, 100, 15001]),
    ]
    a, b, everything = table(rows)
    assert [(s.dataset, s.model, s.prompts) for s in (a, b, everything)] == [
        ("a", "m", 1),
        ("b", "m", 2),
        ("all", "all", 3),
    ]
    assert (b.mean, b.within, b.noise_share, b.floor.crps, b.degenerate) == (150, 0, 0, 0, 0)
    assert b.between == pytest.approx(1 / 3)
    assert a.degenerate == pytest.approx(1 / 3)
    assert everything.degenerate == pytest.approx(1 / 9)
    assert a.noise_share == 1


def test_the_noise_share_recovers_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    centres = rng.normal(1000, 60, 3000)
    rows = [
        row(model="m", dataset="d", input_size=5, output_sizes=np.rint(rng.normal(c, 80, 10)).astype(int).tolist())
        for c in centres
    ]
    found = statistics(rows)
    assert found.noise_share == pytest.approx(0.64, abs=0.02)
    assert found.within == pytest.approx(0.08, rel=0.03)
    assert found.floor.crps == pytest.approx(80 / math.sqrt(math.pi), rel=0.02)


def test_rows_become_training_data_one_line_a_response():
    rows = [
        row(model="m2", dataset="b", input_size=7, output_sizes=[10, 20]),
        row(model="m1", dataset="a", input_size=9, output_sizes=[30]),
    ]
    features, lengths = training(rows)
    assert lengths.tolist() == [10, 20, 30]
    assert features.prompt.tolist() == [7, 7, 9]
    assert features.tenant.tolist() == [1, 1, 0]
    assert features.model.tolist() == [1, 1, 0]
