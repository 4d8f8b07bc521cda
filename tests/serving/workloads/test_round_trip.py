"""What is written is what is read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.serving.model import ROW_COLUMNS, Workload
from rota.serving.workloads import by_name, read, write


@st.composite
def workloads(draw):
    n = draw(st.integers(1, 12))
    parent = [draw(st.integers(-1, i - 1)) for i in range(n)]
    ints = st.integers(1, 2**40)
    length = [draw(st.integers(0, 3)) for _ in range(n)]
    seconds = st.floats(0, 1e6, allow_nan=False)
    slo = st.one_of(st.just(float("nan")), seconds)
    return Workload.of(
        sorted(draw(st.lists(seconds, min_size=n, max_size=n))),
        [draw(ints) for _ in range(n)], [draw(ints) for _ in range(n)],
        tenant=[draw(st.integers(0, 1)) for _ in range(n)], tenants=("a", "b, \"c\""),
        priority=[draw(st.integers(-2, 2)) for _ in range(n)], session=[draw(st.integers(-1, 5)) for _ in range(n)],
        turn=[draw(st.integers(0, 5)) for _ in range(n)], parent=parent, think=[draw(seconds) for _ in range(n)],
        slo_ttft=[draw(slo) for _ in range(n)], slo_tpot=[draw(slo) for _ in range(n)],
        prefix_start=np.concatenate([[0], np.cumsum(length)]),
        prefix_hash=[draw(st.integers(-(2**63), 2**63 - 1)) for _ in range(sum(length))], prefix_chunk=64,
    )  # fmt: skip


def assert_same(a, b):
    for column in ROW_COLUMNS:
        if column not in ("tenant", "model"):
            np.testing.assert_array_equal(getattr(a, column), getattr(b, column), column)
    np.testing.assert_array_equal(a.prefix_start, b.prefix_start)
    np.testing.assert_array_equal(a.prefix_hash, b.prefix_hash)
    for names, codes in (("tenants", "tenant"), ("models", "model")):
        one, other = ([getattr(w, names)[i] for i in getattr(w, codes)] for w in (a, b))
        assert one == other
    assert not len(a.prefix_hash) or a.prefix_chunk == b.prefix_chunk


@settings(deadline=None, max_examples=40)
@given(workloads())
def test_json_lines_keep_everything(tmp_path_factory, workload):
    path = tmp_path_factory.mktemp("w") / "w.jsonl"
    write(workload, path)
    assert_same(workload, read(path))


@settings(deadline=None, max_examples=10)
@given(workloads())
def test_parquet_keeps_everything(tmp_path_factory, workload):
    pytest.importorskip("polars")
    path = tmp_path_factory.mktemp("w") / "w.parquet"
    write(workload, path)
    assert_same(workload, read(path))


@pytest.mark.parametrize(
    ("format", "name", "step"), [("azure", "t.csv", 2e-6), ("vidur", "t.csv", 0), ("mooncake", "t.jsonl", 1e-3)]
)
def test_other_formats_keep_arrivals_and_lengths(tmp_path, format, name, step):
    made = by_name("mooncake-synthetic(n=300)", seed=4)
    write(made, tmp_path / name, format)
    again = read(tmp_path / name)
    np.testing.assert_array_equal(made.prompt, again.prompt)
    np.testing.assert_array_equal(made.output, again.output)
    np.testing.assert_allclose(made.arrival - made.arrival[0], again.arrival - again.arrival[0], atol=step, rtol=0)
    if format == "mooncake":
        np.testing.assert_array_equal(made.prefix_hash, again.prefix_hash)


def test_a_format_that_cannot_hold_it_says_so(tmp_path):
    with pytest.raises(InputError, match="format azure: found turns that wait"):
        write(by_name("sessions(n=5)"), tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"expected one of \.csv"):
        write(by_name("poisson(n=5)"), tmp_path / "t.txt")
