from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError, UnknownName
from rota.serving.presets import preset
from rota.serving.roofline import GPUS, MODELS, Gpu, ModelShape, roofline, step_cost

LLAMA = MODELS["llama-3-8b"]


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("llama-3-8b", 8.03),
        ("llama-2-7b", 6.74),
        ("llama-2-13b", 13.0),
        ("llama2-70b", 69.0),
        ("qwen3-32b", 32.8),
        ("llama-30b", 32.5),
    ],
)
def test_parameters_are_those_of_the_model_cards(model, billions):
    assert MODELS[model].parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_kv_bytes_of_known_models():
    assert MODELS["llama-3-8b"].kv_bytes == 128 * 1024
    assert MODELS["llama-2-7b"].kv_bytes == 512 * 1024
    assert MODELS["llama2-70b"].kv_bytes == 320 * 1024


def test_few_kv_heads_are_repeated_over_many_gpus():
    assert LLAMA.kv_bytes_on_gpu(8) == LLAMA.kv_bytes / 8
    assert LLAMA.kv_bytes_on_gpu(16) == LLAMA.kv_bytes / 8


@pytest.mark.parametrize("gpu", ["a100", "h100", "h200", "l40s"])
def test_estimates_are_near_the_kernel_tables(gpu):
    estimate, table = roofline("llama-3-8b", gpu).cost, preset(f"llama-3-8b/{gpu}").cost
    assert estimate.step(16, 16_000) == pytest.approx(table.step(16, 16_000), rel=0.3)
    assert estimate.step(0, 0, [(4096, 0)]) == pytest.approx(table.step(0, 0, [(4096, 0)]), rel=0.4)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(GPUS)), st.integers(1, 8), st.integers(1, 20_000))
def test_no_step_beats_the_data_sheet(gpu, tp, tokens):
    card = GPUS[gpu]
    seconds = step_cost(LLAMA, card, tp).step(0, 0, [(tokens, 0)])
    weights = LLAMA.layer_parameters * LLAMA.bytes / tp / card.bandwidth
    arithmetic = 2 * LLAMA.layer_parameters * tokens / tp / card.flops
    assert seconds > max(weights, arithmetic)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_more_tokens_take_no_less_time(a, b):
    cost = roofline("qwen2.5-7b", "a40").cost
    few, many = sorted((a, b))
    assert cost.linear(few) <= cost.linear(many)


def test_more_gpus_give_more_room_and_faster_prompts():
    instances = [roofline("llama2-70b", "h100", tp) for tp in (2, 4, 8)]
    prompts = [i.cost.step(0, 0, [(4096, 0)]) for i in instances]
    assert [i.blocks for i in instances] == sorted(i.blocks for i in instances)
    assert prompts == sorted(prompts, reverse=True)
    assert [i.gpus for i in instances] == [2, 4, 8]


def test_blocks_fill_what_weights_and_activations_leave():
    shape = ModelShape(2, 64, 4, 2, 16, 128, 1000)
    room = 0.9 * 1e9 - shape.parameters * 2 - shape.activation_bytes(100, 10, 1)
    found = roofline(shape, Gpu(1e9, 1e11, 1e13, 1e10, 1e10, 1e9), max_batched_tokens=100, max_sequences=10)
    assert found.blocks == int(room // (16 * 2 * 2 * 2 * 16 * 2))


def test_a_model_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="llama2-70b/a10: found 128 GiB of weights"):
        roofline("llama2-70b", "a10")


def test_unknown_names_are_refused():
    with pytest.raises(UnknownName, match="did you mean"):
        roofline("llama-3-8b", "h10")
    with pytest.raises(UnknownName, match="did you mean"):
        roofline("lama-3-8b", "h100")
    with pytest.raises(InputError, match="tp"):
        roofline("llama-3-8b", "h100", 0)
