"""The recorder: the norms are Torch's own, memory and file stay bounded, and a run that was stopped goes on."""

import subprocess
import sys

import numpy as np
import pytest

from rota.core.errors import InputError
from rota.training import gradnorms
from rota.training.gradnorms import BLOCK, SMALL, GradNormRecorder
from rota.training.norm_file import HEADER, ROW, NormRecord
from rota.training.refinement import refine

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights(*shapes, dtype=torch.float32):
    return [torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in shapes]


def set_gradients(parameters, step):
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)


def recorded(recorder, parameters, steps):
    for step in steps:
        set_gradients(parameters, step)
        recorder.record(step)


@pytest.mark.parametrize("small", [0, SMALL])
def test_norms_are_those_of_the_whole_gradient(monkeypatch, small):
    monkeypatch.setattr(gradnorms, "SMALL", small)
    parameters = weights((3, 4), (5,), ())
    unused = torch.nn.Parameter(torch.zeros(2))
    recorder = GradNormRecorder([*parameters, unused], 5)
    recorded(recorder, parameters, range(5))
    record = recorder.result()
    assert record.steps.tolist() == [0, 1, 2, 3, 4]
    assert record.total == 5
    assert record.rates is None
    assert unused.grad is None
    for step in range(5):
        set_gradients(parameters, step)
        flat = torch.cat([p.grad.flatten() for p in parameters])
        assert record.l1[step] == pytest.approx(float(flat.abs().sum()), rel=1e-5)
        assert record.l2[step] == pytest.approx(float(flat.norm()), rel=1e-5)


@pytest.mark.parametrize("small", [0, SMALL])
def test_half_precision_is_summed_in_single(monkeypatch, small):
    monkeypatch.setattr(gradnorms, "SMALL", small)
    (p,) = weights((40_000,), dtype=torch.float16)
    p.grad = torch.full_like(p, 10.0)
    recorder = GradNormRecorder([p], 1)
    recorder.record()
    assert recorder.result().l1.tolist() == [400_000.0]
    assert recorder.result().l2.tolist() == [2000.0]


def test_sparse_gradients_count():
    table = torch.nn.Embedding(10, 3, sparse=True)
    table(torch.tensor([1, 1, 4])).sum().backward()
    recorder = GradNormRecorder(table.parameters(), 1)
    recorder.record()
    assert recorder.result().l1.tolist() == [9.0]
    assert recorder.result().l2[0] == pytest.approx(15**0.5)


@pytest.mark.parametrize("small", [0, SMALL])
def test_mixed_precision_counts_as_one_gradient(monkeypatch, small):
    monkeypatch.setattr(gradnorms, "SMALL", small)
    parameters = [*weights((300,)), *weights((200,), dtype=torch.bfloat16), *weights((100,), dtype=torch.float64)]
    for p in parameters:
        p.grad = torch.ones_like(p)
    recorder = GradNormRecorder(parameters, 1)
    recorder.record()
    assert recorder.result().l1.tolist() == [600.0]
    assert recorder.result().l2[0] == pytest.approx(600**0.5)


def test_recording_changes_neither_gradients_nor_weights():
    model = torch.nn.Linear(4, 2)
    model(torch.ones(3, 4)).sum().backward()
    before = [(p.detach().clone(), p.grad.clone()) for p in model.parameters()]
    GradNormRecorder(model.parameters(), 1).record()
    for p, (weight, gradient) in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, weight)
        assert torch.equal(p.grad, gradient)


def test_every_third_step():
    parameters = weights((2,))
    recorder = GradNormRecorder(parameters, 10, every=3)
    recorded(recorder, parameters, range(10))
    assert recorder.result().steps.tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("every", [1, 3])
def test_memory_and_file_stay_bounded(tmp_path, every):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    with GradNormRecorder(parameters, 5000, path, every, most=100) as recorder:
        for step in range(5000):
            set_gradients(parameters, step % 7)
            recorder.record(lr=step / 5000)
            assert path.stat().st_size <= HEADER.size + 100 * ROW.size
    record = NormRecord.read(path)
    strides = set(np.diff(record.steps).tolist())
    assert len(strides) == 1
    assert np.log2(strides.pop() / every) % 1 == 0
    assert 50 <= len(record) <= 100
    np.testing.assert_array_equal(record.rates, record.steps / 5000)
    refine(record, total=5000)


def test_a_crash_loses_at_most_a_block(tmp_path):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    recorder = GradNormRecorder(parameters, 1000, path)
    recorded(recorder, parameters, range(3 * BLOCK - 1))
    assert len(NormRecord.read(path)) == 2 * BLOCK


def test_a_file_is_continued(tmp_path):
    path, parameters = tmp_path / "norms.rota", weights((2, 3))
    with GradNormRecorder(parameters, 300, path) as first:
        recorded(first, parameters, range(120))
    with path.open("ab") as file:
        file.write(b"half a row")
    with GradNormRecorder(parameters, 300, path, resume=True) as second:
        recorded(second, parameters, range(120, 300))
    whole = GradNormRecorder(parameters, 300)
    recorded(whole, parameters, range(300))
    for found in (NormRecord.read(path, total=300), second.result()):
        np.testing.assert_array_equal(found.steps, np.arange(300))
        np.testing.assert_array_equal(found.l1, whole.result().l1)
        np.testing.assert_array_equal(found.l2, whole.result().l2)


def test_starting_again_replaces_the_record(tmp_path):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    for total in (200, 200, 90):
        old = path.read_bytes() if path.exists() else None
        with GradNormRecorder(parameters, total, path) as recorder:
            assert old is None or path.read_bytes() == old
            for step in range(total):
                set_gradients(parameters, step)
                recorder.record()
        assert NormRecord.read(path, total=total).steps.tolist() == list(range(total))


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("done", [0, 115, 120, 121])
def test_resuming_keeps_the_step_numbers(tmp_path, every, done):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    for first, last in ((0, done), (done, 300)):
        with GradNormRecorder(parameters, 300, path, every, resume=True) as recorder:
            for step in range(first, last):
                set_gradients(parameters, step)
                recorder.record()
    found, whole = NormRecord.read(path), GradNormRecorder(parameters, 300, every=every)
    recorded(whole, parameters, range(300))
    assert found.steps.tolist() == list(range(0, 300, every))
    np.testing.assert_array_equal(found.l2, whole.result().l2)


def test_a_run_that_is_over_is_said(tmp_path):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    with GradNormRecorder(parameters, 20, path) as recorder:
        recorded(recorder, parameters, range(20))
    for over in (recorder, GradNormRecorder(parameters, 20, path, resume=True)):
        with pytest.raises(InputError, match=r"^step: found 20, expected none, as the run of 20 steps is over$"):
            over.record()


@pytest.mark.parametrize("before", [None, "a.rota"])
@pytest.mark.parametrize("after", [None, "a.rota", "b.rota"])
def test_a_state_brings_its_rows(tmp_path, before, after):
    parameters, paths = weights((2,)), [tmp_path / name if name else None for name in (before, after)]
    first = GradNormRecorder(parameters, 300, paths[0], most=90)
    recorded(first, parameters, range(100))
    state = first.state_dict()
    second = GradNormRecorder(parameters, 300, paths[1], most=90)
    if before and after == "b.rota":
        with pytest.raises(
            InputError, match=r"b\.rota: found no row of step 0, expected the 50 rows that the state says"
        ):
            second.load_state_dict(state)
        return
    second.load_state_dict(state)
    assert second.result().steps.tolist() == list(range(0, 100, 2))
    if after:
        assert NormRecord.read(paths[1]).steps.tolist() == list(range(0, 100, 2))


def test_rows_that_the_file_has_lost_are_said(tmp_path):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    first = GradNormRecorder(parameters, 300, path)
    recorded(first, parameters, range(100))
    state = first.state_dict()
    path.write_bytes(path.read_bytes()[: -3 * ROW.size])
    with pytest.raises(InputError, match=r"norms\.rota: found no row of step 97, expected the 100 rows"):
        first.load_state_dict(state)
    path.unlink()
    with pytest.raises(InputError, match=r"norms\.rota: found no such file"):
        GradNormRecorder(parameters, 300).load_state_dict(state)


def test_a_state_of_the_start_asks_nothing_of_an_older_file(tmp_path):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    with GradNormRecorder(parameters, 20, path) as old:
        recorded(old, parameters, range(20))
    state = GradNormRecorder(parameters, 300, path).state_dict()
    GradNormRecorder(parameters, 300, path).load_state_dict(state)
    with pytest.raises(InputError, match="a record without a single step"):
        NormRecord.read(path, total=300)


def test_what_is_no_state_is_said():
    with pytest.raises(InputError, match=r"^state: found one without next, total, .*, expected what state_dict"):
        GradNormRecorder(weights((2,)), 300).load_state_dict({})


def test_a_file_deleted_while_recording_is_said(tmp_path):
    path, parameters = tmp_path / "norms.rota", weights((2,))
    recorder = GradNormRecorder(parameters, 300, path)
    recorded(recorder, parameters, range(BLOCK))
    path.unlink()
    with pytest.raises(InputError, match=r"norms\.rota: found no such file"):
        recorded(recorder, parameters, range(BLOCK, 2 * BLOCK))
    assert not path.exists()


@pytest.mark.parametrize("on_disk", [True, False])
def test_back_to_a_checkpoint(tmp_path, on_disk):
    path, parameters = tmp_path / "norms.rota" if on_disk else None, weights((2, 3))
    first = GradNormRecorder(parameters, 300, path, most=90)
    recorded(first, parameters, range(150))
    state = first.state_dict()
    recorded(first, parameters, range(150, 260))
    first.close()
    second = GradNormRecorder(parameters, 300, path, most=90)
    second.load_state_dict(state)
    recorded(second, parameters, range(150, 300))
    straight = GradNormRecorder(parameters, 300, most=90)
    recorded(straight, parameters, range(300))
    found = second.result()
    np.testing.assert_array_equal(found.steps, straight.result().steps)
    np.testing.assert_array_equal(found.l2, straight.result().l2)
    if on_disk:
        np.testing.assert_array_equal(NormRecord.read(path).steps, found.steps)


def test_infinite_and_nan_norms_are_kept_for_the_reader_to_judge(tmp_path):
    path, (p,) = tmp_path / "norms.rota", weights((2,))
    with GradNormRecorder([p], 3, path) as recorder:
        for worst in (1.0, float("inf"), float("nan")):
            p.grad = torch.tensor([1.0, worst])
            recorder.record()
    record = NormRecord.read(path)
    assert np.isinf(record.l2[1])
    with pytest.raises(InputError, match="gradient norm of step 2: found nan"):
        refine(record)


def test_bad_input_is_said(tmp_path):
    parameters = weights((2,))
    for name, options in {"total": {"total": 0}, "every": {"every": 0}, "most": {"most": 1}}.items():
        with pytest.raises(InputError, match=f"^{name}: found"):
            GradNormRecorder(parameters, **{"total": 10, **options})
    recorder = GradNormRecorder(parameters, 10)
    with pytest.raises(InputError, match="gradients: found none"):
        recorder.record()
    set_gradients(parameters, 0)
    recorder.record(4)
    for step in (4, 10, -1):
        with pytest.raises(InputError, match=rf"step: found {step}, expected one from 5 to 9 \(of 10 steps\)"):
            recorder.record(step)
    with pytest.raises(InputError, match="found a run of 10 steps, expected one of 20 steps"):
        GradNormRecorder(parameters, 20).load_state_dict(recorder.state_dict())
    GradNormRecorder(parameters, 10, tmp_path / "norms.rota")
    (tmp_path / "notes.txt").write_text("to be kept")
    with pytest.raises(InputError, match=r"notes\.txt: found something else"):
        GradNormRecorder(parameters, 10, tmp_path / "notes.txt")
    with pytest.raises(InputError, match="found the record of a run of 10 steps, expected one of 20 steps"):
        GradNormRecorder(parameters, 20, tmp_path / "norms.rota", resume=True)


def test_importing_it_loads_no_torch():
    line = "import sys, rota.training.gradnorms, rota.training.refinement, rota.training.bound; print({'torch', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
