from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rota.core.errors import Infeasible, InputError, RotaError, UnknownName
from rota.core.registry import make, names
from rota.serving.residency import Device, ModelShape, OfflineBatch, ResidencyPolicy, offline_batch, simulate_residency
from rota.serving.residency.model import COLUMNS
from rota.serving.residency.three_phase import Phases, ThreePhase

sys.path.insert(0, str(Path(__file__).parent))
from residency_reference import three_phase_seconds

TOY = ModelShape("toy", layers=2, hidden=8, heads=2, parameters=1000)
POLICIES = (
    "dense",
    "dense(kv_bits=8)",
    "static-split",
    "static-split(waves=-1)",
    "static-split(share=0.5, kv_bits=8)",
    "block-swap",
    "block-swap(kv_bits=8)",
    "sparse-window",
    "sparse-window(kv_bits=16, skew=2.0)",
    "sparse-window(search='exhaustive', ratio=0.4, alphas=11, betas=5)",
    "sparse-window(ratio=1, kv_bits=16)",
)


def toy(
    room: int, batch: int = 2, prompt: int = 6, output: int = 10, link: float = 1e4, overlap: bool = True
) -> OfflineBatch:
    """A small problem whose GPU holds about `room` FP16 tokens, with link, memory and arithmetic of like weight."""
    memory = TOY.weight_bytes + room * TOY.kv_bytes()
    device = Device("toy", memory, bandwidth=1e5, flops=1e6, link=link, host_memory=1e6, launch=1e-3)
    return OfflineBatch(TOY, device, batch, prompt, output, overlap)


toys = st.builds(
    toy,
    room=st.integers(4, 60),
    batch=st.integers(1, 4),
    prompt=st.integers(1, 12),
    output=st.integers(1, 14),
    link=st.sampled_from([1e3, 1e4, 1e5]),
    overlap=st.booleans(),
)
shares = st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0])


class TestPublishedArithmetic:
    def test_kv_of_one_position_is_four_b_l_h(self):
        assert 64 * offline_batch("opt-30b/h100-80gb", 64).model.kv_bytes() == 4 * 64 * 48 * 7168 == 88_080_384

    def test_int8_halves_it(self):
        assert ModelShape("m", 3, 5, 1, 1.0).kv_bytes(8) == 30

    def test_opt_30b_leaves_phase_one_at_about_227_positions(self):
        problem = offline_batch("opt-30b/h100-80gb", 64)
        assert problem.kv_room // (64 * problem.model.kv_bytes()) == 227
        begins = simulate_residency(problem, "sparse-window(kv_bits=16)").metrics["phase2_step"]
        assert 225 <= problem.prompt + begins <= 228

    def test_opt_13b_with_512_tokens_holds_more_than_25_gb(self):
        assert 25e9 < 64 * 512 * offline_batch("opt-13b/v100-32gb", 64).model.kv_bytes() < 28e9


class TestRules:
    @pytest.mark.parametrize("policy", POLICIES)
    @given(problem=toys)
    @settings(deadline=None, max_examples=25)
    def test_every_run_passes_the_verifier(self, policy, problem):
        try:
            run = simulate_residency(problem, policy)
        except Infeasible:
            assume(False)
        run.check()
        assert run.timeline.span[1] == pytest.approx(run.metrics["seconds"])
        assert run.metrics["gpu_peak_bytes"] <= problem.device.memory

    @given(problem=toys, alpha=shares, beta=shares, cut=st.tuples(st.integers(0, 14), st.integers(0, 14)),
           ratio=st.sampled_from([0.1, 0.3, 0.7, 1.0]), kv_bits=st.sampled_from([8, 16]))  # fmt: skip
    @settings(deadline=None, max_examples=50)
    def test_agrees_with_the_naive_reference(self, problem, alpha, beta, cut, ratio, kv_bits):
        p1, p2 = sorted(min(c, problem.output) for c in cut)
        space = ThreePhase(problem, ratio, kv_bits, 1.0, np.zeros(1), np.zeros(1))
        expected = three_phase_seconds(problem, alpha, beta, p1, p2, ratio, kv_bits)
        assert space.seconds(Phases(alpha, beta, p1, p2)) == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_same_input_same_timeline_and_it_pickles(self, policy):
        problem = toy(room=200)
        first, again = (
            simulate_residency(problem, policy),
            simulate_residency(problem, pickle.loads(pickle.dumps(policy))),
        )
        assert first.timeline == again.timeline
        assert pickle.loads(pickle.dumps(first)).metrics == first.metrics


class TestDense:
    def test_does_not_fit(self):
        with pytest.raises(Infeasible, match=r"needs 116\.\d GB on h100-80gb"):
            simulate_residency(offline_batch("opt-30b/h100-80gb", 64), "dense")

    def test_weights_do_not_fit(self):
        with pytest.raises(Infeasible, match="weights"):
            offline_batch("opt-30b/v100-32gb", 1)

    @given(problem=toys)
    @settings(deadline=None, max_examples=30)
    def test_where_it_fits_all_dense_policies_agree(self, problem):
        problem = replace(problem, device=replace(problem.device, memory=1e9))
        expected = simulate_residency(problem, "dense").metrics["seconds"]
        for policy in ("static-split", "block-swap(watermark=0.0)", "sparse-window(ratio=1, kv_bits=16)"):
            assert simulate_residency(problem, policy).metrics["seconds"] == pytest.approx(expected), policy

    def test_full_ratio_equals_dense_in_every_column(self):
        problem = toy(room=1000, prompt=7, output=9)
        dense = simulate_residency(problem, "dense").placement
        full = simulate_residency(problem, "sparse-window(ratio=1, kv_bits=16)").placement
        assert all(np.array_equal(getattr(dense, name), getattr(full, name)) for name in COLUMNS)


class TestStaticSplit:
    def test_loads_its_share_of_all_earlier_tokens_in_every_step(self):
        problem = toy(room=1000, batch=3, prompt=10, output=4)
        placement = simulate_residency(problem, "static-split(share=0.5)").placement
        assert placement.loaded.tolist() == [0, 15, 18, 18]
        assert placement.stored.tolist() == [15, 3, 0, 3]

    def test_best_is_no_worse_than_any_share_or_number_of_waves(self):
        problem = toy(room=30, batch=4)
        best = simulate_residency(problem, "static-split(waves=-1)").metrics
        for share, waves in product((0.0, 0.2, 0.6, 1.0), (1, 2, 4)):
            try:
                other = simulate_residency(problem, f"static-split(share={share}, waves={waves})").metrics
            except Infeasible:
                continue
            assert best["seconds"] <= other["seconds"] + 1e-12

    def test_waves_do_the_whole_batch(self):
        run = simulate_residency(toy(room=60, batch=5), "static-split(waves=2)")
        run.check()
        assert run.placement.prefill[run.placement.prefill > 0].tolist() == [18, 12]

    @pytest.mark.parametrize("spec", ["static-split(share=1.5)", "static-split(waves=0)", "static-split(share='all')"])
    def test_bad_parameters(self, spec):
        with pytest.raises(InputError, match="static-split"):
            simulate_residency(toy(room=60), spec)


class TestBlockSwap:
    def test_runs_fewer_sequences_when_blocks_run_out_and_finishes_all(self):
        problem = toy(room=7 * 16, batch=4, prompt=20, output=20)
        run = simulate_residency(problem, "block-swap(watermark=0.0)")
        run.check()
        assert run.placement.stored.sum() > 0
        assert run.placement.stored.sum() == run.placement.loaded.sum() == run.placement.kept.sum()
        assert run.placement.decoding.max() < 4

    def test_one_sequence_must_fit(self):
        with pytest.raises(Infeasible, match="too few for one whole sequence"):
            simulate_residency(toy(room=20, prompt=20, output=20), "block-swap")

    def test_blocks_are_whole(self):
        """Two sequences of 17 tokens take four blocks, so three hold only one of them at a time."""
        placement = simulate_residency(toy(room=3 * 16, prompt=17, output=3), "block-swap(watermark=0.0)").placement
        assert placement.decoding.tolist() == [0, 1, 1, 0, 1, 1]


class TestSearch:
    @given(problem=toys, ratio=st.sampled_from([0.2, 0.5, 0.9]), kv_bits=st.sampled_from([8, 16]))
    @settings(deadline=None, max_examples=40)
    def test_greedy_is_never_better_than_exhaustive(self, problem, ratio, kv_bits):
        space = ThreePhase(problem, ratio, kv_bits, 1.0, np.linspace(0, 1, 11), np.linspace(0, 1, 5))
        try:
            greedy = space.seconds(space.greedy())
        except Infeasible:
            return
        assert np.isfinite(greedy)
        assert space.seconds(space.exhaustive()) <= greedy * (1 + 1e-9)

    @given(problem=toys, kv_bits=st.sampled_from([8, 16]))
    @settings(deadline=None, max_examples=15)
    def test_exhaustive_is_the_optimum_by_brute_force(self, problem, kv_bits):
        problem = replace(problem, output=min(problem.output, 6))
        space = ThreePhase(problem, 0.4, kv_bits, 1.0, np.linspace(0, 1, 6), np.linspace(0, 1, 3))
        n = problem.output
        cuts = [(p1, p2) for p1 in range(n + 1) for p2 in range(p1, n + 1)]
        tried = (Phases(a, b, p1, p2) for a in space.alphas for b in space.betas for p1, p2 in cuts)
        optimum = min(space.seconds(phases) for phases in tried)
        if np.isinf(optimum):
            with pytest.raises(Infeasible):
                space.exhaustive()
        else:
            assert space.seconds(space.exhaustive()) == pytest.approx(optimum, rel=1e-9)

    def test_recomputation_pays_where_the_link_is_slow(self):
        problem = offline_batch("llama-33b/h100-80gb", 64)
        with_it = simulate_residency(problem, "sparse-window")
        without = simulate_residency(problem, "sparse-window(recompute=False)")
        assert with_it.metrics["recomputed_tokens"] > 0 == without.metrics["recomputed_tokens"]
        assert with_it.metrics["seconds"] < without.metrics["seconds"]

    def test_nothing_moves_where_everything_fits(self):
        metrics = simulate_residency(offline_batch("opt-30b/h100-80gb", 4), "sparse-window").metrics
        assert metrics["loaded_bytes"] == metrics["stored_bytes"] == 0
        assert metrics["p1"] == metrics["phase2_step"] == 512

    def test_picks_that_favour_recent_tokens_load_less(self):
        problem = offline_batch("opt-13b/v100-32gb", 64)
        loaded = [
            simulate_residency(problem, f"sparse-window(skew={skew})").metrics["loaded_bytes"]
            for skew in (0.5, 1.0, 2.0)
        ]
        assert loaded[0] > loaded[1] > loaded[2]


class TestNames:
    def test_registry_knows_all_four(self):
        assert set(names("serving.residency")) >= {"dense", "static-split", "block-swap", "sparse-window"}
        assert isinstance(make("serving.residency", "sparse-window(ratio=0.2)"), ResidencyPolicy)

    @pytest.mark.parametrize(
        "attempt",
        [
            lambda: offline_batch("opt-31b/h100-80gb", 4),
            lambda: offline_batch("opt-30b/h200", 4),
            lambda: simulate_residency(toy(60), "sparse-windows"),
            lambda: simulate_residency(toy(60), "sparse-window(search='random')"),
        ],
    )
    def test_near_names_are_offered(self, attempt):
        with pytest.raises(UnknownName, match=r"did you mean|one of"):
            attempt()

    @pytest.mark.parametrize("spec", ["dense(kv_bits=4)", "sparse-window(ratio=0.0)", "sparse-window(betas=1)"])
    def test_bad_parameters(self, spec):
        with pytest.raises(RotaError, match="expected"):
            simulate_residency(toy(60), spec)

    @pytest.mark.parametrize("field", ["batch", "prompt", "output"])
    def test_sizes_are_positive(self, field):
        with pytest.raises(InputError, match=f"{field}: found 0"):
            replace(toy(60), **{field: 0})
