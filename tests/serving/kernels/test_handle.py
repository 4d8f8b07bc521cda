"""What is opened from a handle is the state itself; what does not fit is refused before anything is read through it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rota.serving.kernels import build
from rota.serving.kernels.handle import borrowing, handle, opened
from rota.serving.kernels.state import State
from rota.serving.model import Fleet, Instance, StepCost, Workload


@pytest.fixture
def state() -> State:
    """A small one, every array of it filled with numbers of its own."""
    kind = Instance("i", StepCost((1.0,), (0.01,)), blocks=40, prefix_cache=True)
    load = Workload.of(
        [0.0, 1.0], [64, 32], [4, 5], prefix_start=[0, 2, 3], prefix_hash=[7, 8, 9], prefix_chunk=16, tenants=("a", "b")
    )
    made = build.new_state(Fleet.of(kind, 3), load)
    rng = np.random.default_rng(0)
    for array in made:
        for column in [array] if array.dtype.names is None else [array[name] for name in array.dtype.names]:
            column[...] = rng.integers(0, 1000, column.shape)
    return made


@borrowing
def _digest(h, weights):
    """Sums that tell elements apart, of one array of each kind and number of dimensions."""
    s = opened(h)
    total = 0.0
    for i in range(len(s.inst)):
        total += weights[i] * (s.inst[i].steps + 3 * s.inst[i].busy)
    for i in range(len(s.rows)):
        total += weights[i] * s.rows[i].blocks
    for i in range(s.run.shape[0]):
        for b in range(s.run.shape[1]):
            total += weights[i] * weights[b] * s.run[i, b]
    for i in range(s.service.shape[0]):
        for t in range(s.service.shape[1]):
            total += weights[i] * (s.service[i, t, 0] + weights[t] * s.service[i, t, 1])
    s.totals[0] = 123
    return total


def test_the_opened_state_is_the_state(state: State) -> None:
    w = np.arange(1.0, 1.0 + max(len(a) for a in state) + state.run.shape[1])
    expected = (
        (w[:3] * (state.inst["steps"] + 3 * state.inst["busy"])).sum()
        + (w[: len(state.rows)] * state.rows["blocks"]).sum()
        + (w[:3, None] * w[None, : state.run.shape[1]] * state.run).sum()
        + (w[:3, None] * (state.service[..., 0] + w[:2] * state.service[..., 1])).sum()
    )
    assert _digest(handle(state), w) == expected
    assert state.totals[0] == 123


def test_a_handle_survives_growth(state: State) -> None:
    larger = build.larger(state)
    assert len(larger.rows) == 2 * len(state.rows)
    w = np.ones(len(larger.rows) + 1)
    assert _digest(handle(larger), w) == _digest(handle(state), w)


@pytest.mark.parametrize("name", State._fields)
def test_an_array_that_does_not_fit_is_refused(state: State, name: str) -> None:
    array = getattr(state, name)
    for wrong in (
        array.astype(np.float32) if array.dtype.names is None else array.view(np.uint8),
        array[None],
        np.repeat(array, 2, 0)[::2],
    ):
        if wrong.flags.c_contiguous and (wrong.dtype, wrong.ndim) == (array.dtype, array.ndim):
            continue  # too short to be stretched
        with pytest.raises(ValueError, match=f"{name}: a handle needs"):
            handle(state._replace(**{name: wrong}))


def test_a_change_of_any_kernel_changes_the_key_of_compiled_code(monkeypatch, tmp_path) -> None:
    """Numba sees only the file of an entry change; the name of the handle's field tells it of the others."""
    from rota.serving.kernels import handle as module

    assert module.PLACES.names == (f"kernels_{module._digest()}",)
    for source in Path(module.__file__).parent.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(module, "__file__", str(tmp_path / "handle.py"))
    same = module._digest()
    assert module.PLACES.names == (f"kernels_{same}",)
    (tmp_path / "queue.py").write_text("changed")
    assert module._digest() != same
