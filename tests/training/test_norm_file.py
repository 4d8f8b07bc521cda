"""The record of gradient norms: what was written survives a crash, and what cannot be used is said in one sentence."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.training.norm_file import HEADER, ROW, NormRecord, append_rows, read_rows, write_rows

ROWS = [(step, 3.0 + step, 1.0 + step, 0.1) for step in range(10)]


def written(folder, rows=ROWS, total=10):
    path = folder / "norms.rota"
    write_rows(path, total, 1, rows)
    return path


def test_a_record_comes_back_as_it_was(tmp_path):
    path = written(tmp_path, ROWS[:4])
    append_rows(path, ROWS[4:])
    record = NormRecord.read(path)
    assert len(record) == record.total == 10
    np.testing.assert_array_equal(record.steps, np.arange(10))
    np.testing.assert_array_equal(record.norms(1), 3.0 + np.arange(10))
    np.testing.assert_array_equal(record.norms(2), 1.0 + np.arange(10))
    np.testing.assert_array_equal(record.rates, np.full(10, 0.1))


def test_rates_are_none_if_no_step_has_one(tmp_path):
    assert NormRecord.read(written(tmp_path, [(0, 1.0, 1.0, float("nan"))])).rates is None


@given(cut=st.integers(0, 10 * ROW.size))
def test_wherever_the_file_ends_its_whole_rows_are_kept(tmp_path_factory, cut):
    path = written(tmp_path_factory.mktemp("cut"))
    os.truncate(path, HEADER.size + cut)
    assert read_rows(path) == (10, 1, cut // ROW.size, ROWS[: cut // ROW.size])


@given(at=st.integers(0, 10 * ROW.size - 1), flip=st.integers(1, 255))
def test_a_damaged_row_ends_the_record(tmp_path_factory, at, flip):
    path = written(tmp_path_factory.mktemp("flip"))
    data = bytearray(path.read_bytes())
    data[HEADER.size + at] ^= flip
    path.write_bytes(data)
    assert read_rows(path).rows == ROWS[: at // ROW.size]


def test_a_row_that_goes_back_in_time_ends_the_record(tmp_path):
    path = written(tmp_path, [*ROWS[:5], ROWS[2]])
    assert read_rows(path).rows == ROWS[:5]


def test_the_next_step_is_the_one_noted_or_the_one_after_the_last_row(tmp_path):
    path = written(tmp_path, ROWS[:2], total=100)
    assert read_rows(path).next == 2
    append_rows(path, ROWS[2:4], 9)
    assert read_rows(path) == (100, 1, 9, ROWS[:4])
    append_rows(path, [(20, 1.0, 1.0, 0.1)])
    assert read_rows(path).next == 21


def test_nothing_is_appended_to_a_file_that_is_gone(tmp_path):
    with pytest.raises(
        InputError, match=r"norms\.rota: found no such file.*, expected the record that was begun there"
    ):
        append_rows(tmp_path / "norms.rota", ROWS)
    assert not list(tmp_path.iterdir())


WRITER = """
import sys
from rota.training.norm_file import append_rows, write_rows
write_rows(sys.argv[1], 10**9, 1, [])
for block in range(10**7):
    append_rows(sys.argv[1], [(64 * block + k, 1.0 + k, 2.0 + k, 0.5) for k in range(64)])
    if block == 20:
        print("under way", flush=True)
"""


def test_kill_9_leaves_a_sound_record(tmp_path):
    path = tmp_path / "norms.rota"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
    record = NormRecord.read(path, total=10**9)
    assert len(record) >= 21 * 64
    np.testing.assert_array_equal(record.steps, np.arange(len(record)))
    np.testing.assert_array_equal(record.norms(1), 1.0 + np.arange(len(record)) % 64)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "found an empty file, expected a record of gradient norms"),
        (b"step,norm\n0,1\n", "found something else, expected a record of gradient norms"),
        (HEADER.pack(b"ROTANORM", 9, 1, 10, 0), "found a record of version 9, expected version 2"),
        (HEADER.pack(b"ROTANORM", 2, 1, 10, 0), "found a record without a single step, expected norms of a whole run"),
    ],
)
def test_what_is_no_record_is_said(tmp_path, data, sentence):
    path = tmp_path / "norms.rota"
    path.write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        NormRecord.read(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        NormRecord.read(tmp_path / "norms.rota")


def test_another_run_length_is_said(tmp_path):
    with pytest.raises(InputError, match="found the record of a run of 10 steps, expected one of 20 steps"):
        NormRecord.read(written(tmp_path), total=20)


@pytest.mark.parametrize(("norm", "word"), [(float("nan"), "nan"), (0.0, "0"), (-2.0, "-2")])
def test_a_norm_that_is_none_is_said_with_its_step(tmp_path, norm, word):
    record = NormRecord.read(written(tmp_path, [*ROWS[:7], (7, norm, norm, 0.1), *ROWS[8:]]))
    for power in (1, 2):
        with pytest.raises(InputError, match=f"gradient norm of step 7: found {word}, expected a number above 0"):
            record.norms(power)


def test_infinite_norms_pass_and_other_powers_do_not(tmp_path):
    record = NormRecord.read(written(tmp_path, [(0, float("inf"), float("inf"), 0.1)]))
    assert np.isinf(record.norms(2)).all()
    with pytest.raises(InputError, match="power: found 3"):
        record.norms(3)
