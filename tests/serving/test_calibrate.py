from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError
from rota.serving.calibrate import calibrate, design, fit
from rota.serving.measurement_file import read_measurements
from rota.serving.measurements import ClientLog, LoadTable, StepLog, closed_loop, step_seconds
from rota.serving.model import Fleet, Instance, StepCost, Workload
from rota.serving.presets import preset

pytest.importorskip("scipy")

TRUE = StepCost((1.0, 256.0, 2048.0), (0.0, 0.001, 0.03), 0.008, 0.006, 2e-5, 5e-8, 6e-10, 2e-4)
ENGINE = Instance("true", TRUE, blocks=20_000)


def steps(n: int, seed: int, noise: float = 0.0, cost: StepCost = TRUE) -> StepLog:
    """Random steps whose durations `cost` gives, times log-normal noise."""
    rng = np.random.default_rng(seed)
    decoding = rng.integers(0, 200, n).astype(float)
    prompts = np.where((rng.random(n) < 0.4) | (decoding == 0), rng.integers(1, 4, n), 0).astype(float)
    prefill = prompts * rng.integers(1, 2000, n)
    pairs = prefill * rng.integers(1, 4000, n)
    blank = StepLog(decoding, decoding * rng.integers(10, 2000, n), prefill, pairs, prompts, np.ones(n))
    return replace(blank, seconds=step_seconds(cost, blank) * rng.lognormal(0, noise, n))


def assert_near(found: StepCost, true: StepCost, rel: float) -> None:
    for n in (1, 100, 1000, 5000):
        assert found.decode_base + found.linear(n) == pytest.approx(true.decode_base + true.linear(n), rel=rel)
    assert found.per_kv_token == pytest.approx(true.per_kv_token, rel=rel)
    assert found.quadratic == pytest.approx(true.quadratic, rel=rel)


def test_step_seconds_is_the_step_of_the_model():
    log = steps(50, 0)
    whole = replace(log, pairs=log.prefill_tokens**2 / 2, prompts=(log.prefill_tokens > 0).astype(float))
    one_by_one = [
        TRUE.step(int(b), kv, [(int(c), 0)] if c else [])
        for b, kv, c in zip(whole.decoding, whole.kv_tokens, whole.prefill_tokens, strict=True)
    ]
    assert step_seconds(TRUE, whole) == pytest.approx(one_by_one, rel=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_the_design_matrix_and_the_model_agree(seed):
    log = steps(40, seed)
    work = log.work(np.arange(40), ENGINE)
    slopes = np.diff(TRUE.seconds) / np.diff(TRUE.tokens)
    ends = [TRUE.per_sequence, TRUE.per_kv_token, TRUE.quadratic, TRUE.per_prompt]
    product = design(work, TRUE.tokens) @ np.array([TRUE.decode_base, TRUE.prefill_base, *slopes, *ends])
    assert product == pytest.approx(step_seconds(TRUE, log), rel=1e-9)


def test_clean_step_logs_give_the_coefficients_back():
    found = fit(steps(2000, 1).work(np.arange(2000), ENGINE), TRUE)
    assert_near(found, TRUE, 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_noisy_step_logs_give_nearly_the_coefficients(seed):
    other = StepCost(TRUE.tokens, (0.0, 0.004, 0.1), 0.02, 0.02, 0.0, 2e-7, 1e-9)
    found = calibrate(steps(3000, seed, noise=0.1), replace(ENGINE, cost=other), seed=seed)
    assert_near(found.instance.cost, TRUE, 0.15)
    assert 0.05 < found.heldout["step"].median < 0.09  # median of |log-normal(0, 0.1) - 1| is 6.7 %
    assert found.before["step"].median > 0.5
    assert found.fitted_rows == 2100


def test_what_the_log_says_nothing_about_stays():
    log = steps(500, 2)
    quiet = log.prefill_tokens == 0
    log = StepLog(
        *(getattr(log, c)[quiet] for c in ("decoding", "kv_tokens", "prefill_tokens", "pairs", "prompts", "seconds"))
    )
    base = replace(TRUE, quadratic=7e-10, per_prompt=3e-4, decode_base=0.02)
    found = fit(log.work(np.arange(len(log)), ENGINE), base)
    assert (found.quadratic, found.per_prompt) == (base.quadratic, base.per_prompt)
    assert found.per_kv_token == pytest.approx(TRUE.per_kv_token, rel=0.02)


def test_the_holdout_is_not_seen_by_the_fit():
    log = steps(200, 3, noise=0.05)
    first = calibrate(log, ENGINE, holdout=0.25, seed=4)
    aside = np.isin(log.seconds, first.measured["step"])
    spoiled = replace(log, seconds=np.where(aside, 100 * log.seconds, log.seconds))
    second = calibrate(spoiled, ENGINE, holdout=0.25, seed=4)
    assert aside.sum() == 50
    assert second.instance == first.instance
    assert second.heldout["step"].median > 0.9


def client_log(engine: Instance, n: int = 400, rate: float = 6.0) -> ClientLog:
    from rota.serving.simulate import simulate

    rng = np.random.default_rng(0)
    load = Workload.of(np.cumsum(rng.exponential(1 / rate, n)), rng.integers(50, 1500, n), rng.integers(2, 300, n))
    seen = simulate(Fleet.of(engine, 1), load).requests
    return ClientLog(load.arrival, 1.0 * load.prompt, 1.0 * load.output, seen["ttft"], np.nan_to_num(seen["tpot"]))


def test_a_clients_view_is_enough_to_halve_the_error():
    slow = replace(preset("llama-3-8b/h100"), cost=preset("llama-3-8b/a100").cost)
    found = calibrate(client_log(slow), preset("llama-3-8b/h100"))
    assert found.heldout["tpot"].median < 0.08 < found.before["tpot"].median
    assert found.heldout["ttft"].median < found.before["ttft"].median / 2


def load_table(engine: Instance) -> LoadTable:
    isl, osl, clients = (np.array(c, dtype=float).ravel() for c in np.meshgrid([512, 2048], [16, 24], [1, 8]))
    blank = LoadTable(isl, osl, clients, np.ones_like(isl), np.ones_like(isl))
    return replace(blank, **blank.predict(np.arange(len(isl)), engine))


def test_load_tests_are_enough_to_halve_the_error():
    true = replace(preset("llama-3-8b/a100"), prefill="whole", max_batched_tokens=16384)
    found = calibrate(load_table(true), preset("llama-3-8b/h100"), holdout=0.4)
    for metric in ("ttft", "tpot"):
        assert found.heldout[metric].median < found.before[metric].median / 2


def test_a_good_start_is_not_made_worse():
    true = preset("llama-3-8b/h100")
    found = calibrate(load_table(true), true, holdout=0.4)
    assert found.instance.cost == true.cost
    assert found.heldout["ttft"].median == 0


def test_a_closed_loop_keeps_its_clients_busy():
    loop = closed_loop(3, 10, 5, rounds=4)
    assert len(loop) == 12
    assert (loop.parent[:3] == -1).all()
    assert (np.diff(np.append(loop.parent[3:], 9)) == 1).all()


def test_the_result_can_be_printed_drawn_and_stored():
    found = calibrate(steps(50, 5, noise=0.05))
    json.dumps(found.to_json())
    pytest.importorskip("plotly")
    assert {trace.name for trace in found.figure().data} == {"step", "equal"}


def test_impossible_requests_to_calibrate_are_refused():
    with pytest.raises(InputError, match="base"):
        calibrate(ClientLog(*(np.ones(5) for _ in range(5))))
    with pytest.raises(InputError, match="holdout"):
        calibrate(steps(10, 0), holdout=1.0)
    with pytest.raises(InputError, match="at least 2"):
        calibrate(StepLog(*(np.ones(1) for _ in range(6))))
    with pytest.raises(InputError, match="row 1"):
        StepLog(*(np.array([1.0, -1.0]) for _ in range(6)))


def test_files_of_each_form_are_told_apart(tmp_path):
    def written(name: str, text: str) -> object:
        (tmp_path / name).write_text(text)
        return read_measurements(tmp_path / name)

    log = written("a.csv", "decoding,kv_tokens,prefill_tokens,seconds\n2,100,0,0.01\n0,0,64,0.02\n")
    assert isinstance(log, StepLog)
    assert log.pairs.tolist() == [0, 2048]
    client = written("b.jsonl", '{"arrival": 5, "prompt": 9, "output": 3, "ttft_ms": 20, "e2e_ms": 40}\n')
    assert isinstance(client, ClientLog)
    assert (client.arrival[0], client.ttft[0], client.tpot[0]) == pytest.approx((0, 0.02, 0.01))
    table = written("c.csv", "isl,osl,batch_size,silicon_ttft_ms,silicon_tpot_ms\n1024,128,8,154,18\n")
    assert isinstance(table, LoadTable)
    assert table.tpot[0] == pytest.approx(0.018)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no rows"),
        ("decoding,kv_tokens\n1,2\n", "columns decoding, kv_tokens"),
        ("decoding,kv_tokens,prefill_tokens,seconds\n1,2,3,nan\n", ":2: seconds: found 'nan'"),
        ("decoding,kv_tokens,prefill_tokens,seconds\n1,2,3,4\n1,2,-3,4\n", ":3: prefill_tokens: found '-3'"),
        ("decoding,kv_tokens,prefill_tokens,seconds\n1,2,3\n", ":2: seconds: found nothing"),
        ('{"a": 1}\n{"a": \n', ":2: found"),
        ("arrival,prompt,output,ttft\n1,2,3,4\n", "neither tpot nor e2e"),
    ],
)
def test_a_wrong_file_is_one_sentence(text, sentence, tmp_path):
    path = tmp_path / "measurements.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as caught:
        read_measurements(path)
    assert "measurements.csv" in str(caught.value)
