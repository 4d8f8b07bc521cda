import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402

from rota.core.errors import InputError  # noqa: E402
from rota.training import rex, schedule, warmup  # noqa: E402
from rota.training.adapters.optax import MOST, optax_schedule  # noqa: E402

SPEC = "warmup(0.2) >> rex()"


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([SPEC, "cosine(restarts=1)", "steps()", "one_cycle()"]), st.integers(20, 400), st.floats(1e-5, 10)
)
def test_the_rates_are_the_closed_form_in_float32(spec, total, base):
    learning_rate = jax.jit(jax.vmap(optax_schedule(spec, total, base)))
    steps = np.arange(total + 1)
    found = learning_rate(jnp.asarray(steps))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, (base * schedule(spec)(steps.astype(float), total)).astype(np.float32))


def test_a_traced_step_in_a_scan():
    learning_rate = optax_schedule(warmup(0.2) >> rex(), 10, 0.5)
    _, found = jax.lax.scan(lambda step, _: (step + 1, learning_rate(step)), 0, None, length=11)
    assert found.tolist() == [float(learning_rate(t)) for t in range(11)]
    assert float(learning_rate(2)) == 0.5


def test_steps_outside_the_run_get_the_rates_of_its_ends():
    learning_rate = jax.jit(optax_schedule("linear().floor(0.25)", 10, 2.0))
    assert [float(learning_rate(t)) for t in (-3, 0, 10, 99)] == [2.0, 2.0, 0.5, 0.5]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_jitted_loop_and_the_torch_adapter_walk_together(name):
    torch = pytest.importorskip("torch")
    from rota.training.adapters.torch import ScheduledLR

    total, base = 40, 0.05
    target = np.linspace(-1, 1, 5)
    theirs = {"sgd": optax.sgd, "adam": optax.adam}[name](optax_schedule(SPEC, total, base))

    @jax.jit
    def step(x, state):
        updates, state = theirs.update(2 * (x - target), state)
        return optax.apply_updates(x, updates), state

    x = jnp.zeros(5)
    state = theirs.init(x)
    weights = torch.nn.Parameter(torch.zeros(5))
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]([weights], lr=base)
    scheduler = ScheduledLR(optimizer, SPEC, total)
    for _ in range(total):
        x, state = step(x, state)
        optimizer.zero_grad()
        ((weights - torch.tensor(target, dtype=torch.float32)) ** 2).sum().backward()
        optimizer.step()
        scheduler.step()
    assert float(np.abs(np.asarray(x)).max()) > 0.1
    np.testing.assert_allclose(np.asarray(x), weights.detach().numpy(), atol=2e-5)


@pytest.mark.parametrize("total", [0, -1, 2.5, True, MOST + 1])
def test_a_total_out_of_range(total):
    with pytest.raises(InputError, match=r"^total: found .*, expected a whole number of steps from 1 to 10,000,000$"):
        optax_schedule(SPEC, total)
