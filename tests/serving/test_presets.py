from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from rota.core.data import data_folder
from rota.core.errors import InputError, UnknownName
from rota.serving.instance_file import instance_of, load_instance, save_instance, toml_of
from rota.serving.model import Instance
from rota.serving.presets import about, find, preset, presets
from rota.serving.roofline import roofline

REPOSITORY = Path(__file__).parents[2]


def milliseconds(instance: Instance, decoding: int, kv: int, prompt: int = 0) -> float:
    return 1e3 * instance.cost.step(decoding, kv, [(prompt, 0)] if prompt else [])


def test_llama_7b_on_a10_has_the_constants_fitted_to_the_published_request_means():
    a10 = preset("llama-7b/a10")
    assert milliseconds(a10, 10, 5000) == pytest.approx(35.65 + 0.743 * 10 + 0.00113 * 5000)
    assert milliseconds(a10, 0, 0, 1000) == pytest.approx(5.6 + 11.4 + 0.243 * 1000 + 2.1e-5 * 1000**2)
    assert (a10.blocks, a10.prefill, a10.max_batched_tokens, a10.kv_bytes) == (785, "whole", 12800, 2**19)


def test_llama_30b_on_four_a10_keeps_the_published_lines():
    four = preset("llama-30b/4xa10")
    assert milliseconds(four, 16, 8192) == pytest.approx(60.8 + 0.117 * 16, rel=1e-3)
    assert milliseconds(four, 0, 0, 1000) == pytest.approx(12.2 + 0.4116 * 1000 + 1.8e-6 * 1000**2, rel=1e-3)
    assert four.gpus == 4


@pytest.mark.parametrize(
    ("name", "prompt", "measured"),
    [
        ("llama2-70b/a100-tp8", 512, 92.8),
        ("llama2-70b/a100-tp8", 8192, 1550),
        ("llama2-70b/h100-tp8", 2048, 137),
        ("bloom-176b/h100-tp8", 4096, 689),
    ],
)
def test_end_to_end_presets_give_back_the_measured_prompts(name, prompt, measured):
    assert milliseconds(preset(name), 0, 0, prompt) == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize(
    ("name", "batch", "measured"), [("llama2-70b/a100-tp4", 32, 52.3), ("llama2-70b/h100-tp8", 32, 38.6)]
)
def test_end_to_end_presets_give_back_the_measured_decodes(name, batch, measured):
    assert milliseconds(preset(name), batch, batch * 576) == pytest.approx(measured, rel=0.06)


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_whole_and_sane(name):
    instance = preset(name)
    assert instance.name == name == name.lower()
    assert set(about(name)) == {"hardware", "model", "source"}
    assert all(about(name).values())
    steps = [milliseconds(instance, b, 500 * b) for b in (1, 8, 64, 256)]
    prompts = [milliseconds(instance, 0, 0, n) for n in (16, 128, 1024, 8192)]
    assert steps == sorted(steps)
    assert prompts == sorted(prompts)
    assert 1 < steps[0] < 100
    assert instance.blocks * 16 > 4096


def test_a_faster_gpu_is_faster():
    times = [milliseconds(preset(f"llama-3-8b/{gpu}"), 32, 32 * 1000) for gpu in ("l40s", "a100", "h100", "h200")]
    assert times == sorted(times, reverse=True)


def test_names_are_found_in_any_case_and_near_misses_are_offered():
    assert preset("Llama-3-8B/H100") == preset("llama-3-8b/h100")
    with pytest.raises(UnknownName, match="did you mean llama-3-8b/h100"):
        preset("llama-3-8b/h10")


def test_find_prefers_a_preset_and_falls_back_on_the_roofline():
    assert find("llama-3-8b", "h100") == preset("llama-3-8b/h100")
    assert find("llama-30b", "A10", 4) == preset("llama-30b/4xa10")
    assert find("mistral-7b", "a100") == roofline("mistral-7b", "a100")
    with pytest.raises(UnknownName, match="did you mean llama-3-8b"):
        find("llama-3-8", "h100")
    with pytest.raises(UnknownName, match="GPU"):
        find("llama-3-8b", "h1000")


@pytest.mark.parametrize("name", presets())
def test_an_instance_survives_its_file(name, tmp_path):
    path = tmp_path / "instance.toml"
    save_instance(preset(name), path, {"source": 'a "quoted" note'})
    assert load_instance(path) == preset(name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = 3", "Expected `str`"),
        ("nam = 'x'", "did you mean name"),
        ("cost = 3", "a table"),
        ("[cost]\ntoken = [1]", "did you mean tokens"),
        ("name = ", "not TOML"),
        ("name = 'x'\nblocks = 10", "cost"),
        ("name = 'x'\nblocks = 0\n[cost]\ntokens = [1]\nseconds = [1]", "blocks: found 0"),
    ],
)
def test_a_wrong_instance_file_is_one_sentence(text, sentence, tmp_path):
    path = tmp_path / "instance.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as caught:
        load_instance(path)
    assert "\n" not in str(caught.value)


def test_a_missing_instance_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml"):
        load_instance(tmp_path / "none.toml")


def test_text_of_an_instance_has_no_infinite_or_missing_numbers():
    for name in presets():
        cost = preset(name).cost
        assert all(math.isfinite(v) for v in (*cost.tokens, *cost.seconds))
        assert "nan" not in toml_of(preset(name))


def test_partial_tables_take_defaults():
    instance = instance_of({"name": "x", "blocks": 10, "cost": {"tokens": [1], "seconds": [0.01]}}, "x")
    assert instance.max_sequences == 256


def test_the_shipped_file_is_what_the_data_gives():
    if data_folder() is None:
        pytest.skip("no data folder (ROTA_DATA)")
    pytest.importorskip("scipy")
    script = REPOSITORY / "benchmarks" / "fit_presets.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
