import os

import numpy as np
import pytest

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

from rota.core.errors import InputError  # noqa: E402
from rota.training import rex, schedule, warmup  # noqa: E402
from rota.training.adapters.keras import ScheduledLR  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SPEC = "warmup(0.25) >> rex()"


def number(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


def test_the_rates_are_the_closed_form():
    found = [number(ScheduledLR(warmup(0.25) >> rex(), 12, 0.1)(t)) for t in (*range(13), 99)]
    plan = schedule(SPEC).over(12)
    assert found == [float(np.float32(0.1 * plan(min(t, 12)))) for t in (*range(13), 99)]


def test_the_config_round_trip():
    made = ScheduledLR(SPEC, 12, 0.1)
    assert made.get_config() == {"schedule": SPEC, "total": 12, "base": 0.1}
    assert ScheduledLR.from_config(made.get_config()).get_config() == made.get_config()
    known = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(made))
    assert isinstance(known, ScheduledLR)
    assert number(known(7)) == number(made(7))


def test_a_fit_takes_its_steps_at_these_rates():
    """The loss is the one weight itself, so that each step moves it by exactly the learning rate."""
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(keras.optimizers.SGD(ScheduledLR(SPEC, 12, 0.1)), lambda _, found: found)
    ones, moved = np.ones((8, 1), "float32"), [0.0]
    for _ in range(3):
        model.fit(ones, ones, batch_size=2, epochs=1, verbose=0)
        moved.append(-number(dense.kernel[0, 0]))
    plan = schedule(SPEC).over(12)
    expected = [0.1 * sum(plan(t) for t in range(4 * k)) for k in range(4)]
    np.testing.assert_allclose(moved, expected, rtol=1e-5)
    assert number(model.optimizer.learning_rate) == 0.0


def test_a_saved_model_keeps_its_schedule(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(ScheduledLR(SPEC, 12, 0.1)), "mse")
    x = np.ones((8, 3), "float32")
    model.fit(x, x[:, :1], batch_size=2, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config()["learning_rate"]["config"]["schedule"] == SPEC
    assert number(again.optimizer.learning_rate) == number(ScheduledLR(SPEC, 12, 0.1)(4))


def test_mistakes_are_one_sentence():
    with pytest.raises(InputError, match="did you mean rex"):
        ScheduledLR("rexx", 10)
    with pytest.raises(InputError, match=r"^total: found 0"):
        ScheduledLR(SPEC, 0)
