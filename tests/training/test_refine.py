"""Refinement: constant norms give linear decay, and the numbers of the authors' synthetic curves come out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rota.core.errors import InputError
from rota.training import constant, cosine, linear, polynomial, schedule, warmup
from rota.training.norm_file import NormRecord, write_rows
from rota.training.refinement import factors, refine, refine_online, smoothed, warmup_polynomial

norms = arrays(np.float64, st.integers(2, 80), elements=st.floats(0.01, 100))


def record(values, total=None, stride=1):
    values = np.asarray(values, float)
    return NormRecord(stride * np.arange(len(values)), 2 * values, values, total or stride * len(values))


def slow_median(values, smoothing):
    """The filter as the authors describe it, window by window."""
    width = 2 * (int(smoothing * len(values)) // 2) + 1
    padded = np.pad(values, (0, 2 * width), "reflect")
    seen = [padded[np.clip(np.arange(t - width // 2, t + width // 2 + 1), 0, None)] for t in range(len(values))]
    return np.array([np.sort(window)[width // 2] for window in seen])


@pytest.mark.parametrize("total", [2, 10, 999, 10_000, 12_345])
@pytest.mark.parametrize("power", [1, 2])
def test_constant_norms_give_linear_decay(total, power):
    at = np.arange(total + 1.0)
    np.testing.assert_allclose(refine(np.full(total, 3.3), power)(at, total), linear()(at, total), atol=1e-12)
    np.testing.assert_allclose(refine(np.full(total, 3.3), power).over(total).table(), linear().over(total).table(), atol=1e-12)  # fmt: skip


def test_the_papers_entries_for_ten_constant_norms():
    found = refine(np.full(10, 7.0))(np.arange(1.0, 11), 10)
    np.testing.assert_allclose(found, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0], atol=1e-12)


@given(g=norms, power=st.sampled_from([1, 2]))
def test_entries_are_those_of_the_formula(g, power):
    w = [x**-power for x in g]
    entries = np.array([w[t] * sum(w[t + 1 :]) for t in range(len(g))])
    found = factors(g, power)
    assert len(found) == len(g) + 1
    assert found.max() == 1
    assert found[-1] == 0
    assert (found[:-1] > 0).all()
    np.testing.assert_allclose(found[1:] / found[1], entries / entries[0], rtol=1e-9)
    assert found[0] / found[1] == pytest.approx(1 + w[0] / sum(w[1:]), rel=1e-9)


@pytest.mark.parametrize(
    ("g", "entries"),
    [
        ([1, 1e-170, 1, 1], [1, 1, 2, 0, 0]),
        ([1, 1, 1e-170], [1, 1, 1, 0]),
        ([1e-170, 1, 1], [1, 0, 0, 0]),
        ([1e-300, 2e-300, 1e-300], None),
        ([1e300, 2e300, 1e300], None),
    ],
)
def test_extreme_norms(g, entries):
    found = refine(g, smoothing=0)(np.arange(len(g) + 1.0), len(g))
    wanted = factors([1.0, 2.0, 1.0]) if entries is None else np.array(entries) / max(entries)
    if g[0] == 1e-170:
        assert found[1] < 1e-300
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "norms.rota"
    write_rows(path, 20, 1, [(step, 1.0, 1.0 + step, 0.1) for step in range(20)])
    for given_path in (path, str(path)):
        assert refine(given_path) == refine(1.0 + np.arange(20))
    with pytest.raises(InputError, match="no such file"):
        refine("nowhere.rota")


@given(g=norms, scale=st.floats(1e-6, 1e6), smoothing=st.floats(0, 0.9))
def test_the_unit_of_the_norms_does_not_matter(g, scale, smoothing):
    at = np.linspace(0, 1, 50)
    np.testing.assert_allclose(
        refine(g * scale, smoothing=smoothing)(at, 1.0), refine(g, smoothing=smoothing)(at, 1.0), rtol=1e-9, atol=1e-12
    )


@given(g=norms, power=st.sampled_from([1, 2]))
def test_rising_norms_give_a_falling_schedule(g, power):
    found = refine(np.sort(g), power)(np.linspace(0, 1, 200), 1.0)
    assert (np.diff(found) <= 1e-12).all()


@given(g=norms, smoothing=st.floats(0, 0.99))
def test_the_filter_is_the_authors(g, smoothing):
    np.testing.assert_array_equal(smoothed(g, smoothing), slow_median(g, smoothing))


def test_the_filter_works_in_blocks_too():
    g = np.exp(np.random.default_rng(0).standard_normal(10_000))
    found = smoothed(g, 0.1)
    assert len(found) == 10_000
    for t in (500, 3996, 4004, 8999):
        assert found[t] == np.median(g[t - 500 : t + 501])


def test_a_spike_does_not_matter():
    g = np.ones(200)
    g[[3, 77, 150]] = (1e6, 1e-6, np.inf)
    np.testing.assert_allclose(refine(g)(np.arange(201.0), 200), linear()(np.arange(201.0), 200), atol=1e-12)


def test_power_chooses_the_norms():
    rising = np.linspace(1, 3, 50)
    mixed = NormRecord(np.arange(50), rising[::-1], rising, 50)
    assert refine(mixed, 2) == refine(rising, 2)
    assert refine(mixed, 1) == refine(rising[::-1], 1)


def test_a_thin_record_gives_nearly_the_schedule_of_the_whole_one():
    g = 1 + 3 * np.exp(-np.arange(4000) / 400)
    at = np.linspace(0, 1, 500)
    whole, thin = refine(record(g))(at, 1.0), refine(record(g[::8], 4000, stride=8))(at, 1.0)
    assert len(refine(record(g[::8], 4000, stride=8)).values) == 501
    assert np.abs(whole - thin).max() < 0.01


def test_short_records_can_be_resampled():
    g = np.linspace(2, 1, 30)
    found = refine(g, points=3000)
    assert len(found.values) == 3001
    assert np.abs(found(np.linspace(0, 1, 100), 1.0) - refine(g)(np.linspace(0, 1, 100), 1.0)).max() < 0.05


def test_long_records_are_resampled():
    assert len(refine(np.linspace(2, 1, 30_000)).values) == 10_001


def test_it_can_be_typed_back():
    refined = refine(np.linspace(2, 1, 30), 1)
    assert schedule(repr(refined)) == refined


@pytest.mark.parametrize("climb", [0.0, 0.1, 0.45])
@pytest.mark.parametrize("exponent", [0.6, 1.0, 3.0])
def test_warmup_polynomial_finds_what_it_is_given(climb, exponent):
    drawn = warmup(climb) >> polynomial(exponent) if climb else polynomial(exponent)
    found = warmup_polynomial(drawn)
    assert found.warmup == pytest.approx(climb, abs=0.0026)
    assert found.exponent == pytest.approx(exponent, abs=0.026)
    assert found.error < 0.01
    at = np.linspace(0, 1, 99)
    assert np.sqrt(np.mean((found.schedule()(at, 1.0) - drawn(at, 1.0)) ** 2)) < 0.01


@pytest.mark.parametrize(
    ("given", "options", "sentence"),
    [
        ([1.0, float("nan"), 1.0], {}, "gradient norm of step 1: found nan, expected a number above 0"),
        ([1.0, 2.0, 0.0], {}, "gradient norm of step 2: found 0, expected a number above 0"),
        ([1.0, -3.0], {"power": 1}, "gradient norm of step 1: found -3"),
        ([], {}, "norms: found 0 of them, expected at least 2"),
        ([1.0], {}, "norms: found 1 of them, expected at least 2"),
        ([np.inf, np.inf], {}, "norms: found nothing but infinite ones"),
        ([1.0, "high"], {}, "norms: found a list without numbers, expected a record, its file, or one norm a step"),
        ({"l2": [1.0]}, {}, "norms: found a dict without numbers"),
        ([[1.0, 2.0]], {}, r"norms: found an array of shape \(1, 2\)"),
        ([1.0, 2.0], {"power": 3}, "power: found 3"),
        ([1.0, 2.0], {"smoothing": 1.0}, r"smoothing: found 1, expected a share of the run in \[0, 1\)"),
        ([1.0, 2.0], {"total": 50}, "record: found norms of a run of 2 steps, expected those of one of 50 steps"),
    ],
)
def test_bad_input_is_said(given, options, sentence):
    with pytest.raises(InputError, match=sentence):
        refine(given, **options)


def test_a_part_of_a_run_is_said():
    with pytest.raises(InputError, match=r"found norms of the steps 0 to 59 of the run, expected norms of all its 100"):
        refine(record(np.ones(60), 100))


def test_online_refinement_changes_nothing_about_linear_decay_if_norms_are_constant():
    online = refine_online(record(np.full(40, 2.0), 100), linear(), 100)
    at = np.arange(101.0)
    np.testing.assert_allclose(online(at, 100), linear()(at, 100), atol=1e-12)


def test_online_refinement_keeps_the_past_and_ends_at_zero():
    online = refine_online(record(np.linspace(3, 1, 40), 100), cosine(), 100)
    np.testing.assert_allclose(online(np.arange(40.0), 100), cosine()(np.arange(40.0), 100), atol=1e-12)
    rest = online(np.arange(40.0, 101), 100)
    assert rest[-1] == 0
    assert rest[0] == 1
    assert (np.diff(rest) <= 1e-12).all()


def test_online_refinement_gives_the_rest_its_refined_proportion():
    g = np.linspace(1, 2, 40)
    online = refine_online(record(g, 100), constant(0.5), 100, smoothing=0.0)
    whole = factors(np.concatenate([g, np.full(60, 2.0)]))
    at = np.arange(40.0, 101)
    np.testing.assert_allclose(online(at, 100), whole[40:] * 0.5 * 40 / whole[:40].sum(), atol=1e-12)


@pytest.mark.parametrize(("first", "count"), [(20, 20), (20, 1), (3, 17)])
def test_online_refinement_needs_the_start_of_the_run(first, count):
    late = NormRecord(np.arange(first, first + count), np.ones(count), np.ones(count), 100)
    with pytest.raises(
        InputError, match=f"^record: found norms from step {first} on, expected norms from the start of the run$"
    ):
        refine_online(late, linear(), 100)


def test_online_refinement_at_the_end_or_without_steps_is_said():
    with pytest.raises(InputError, match="found 100 steps done, expected from 1 to 99 of 100"):
        refine_online(record(np.ones(100)), linear(), 100)
    with pytest.raises(InputError, match="found 0 steps done"):
        refine_online(record([], 100), linear(), 100)
    with pytest.raises(InputError, match="found norms of a run of 90 steps"):
        refine_online(record(np.ones(50), 90), linear(), 100)
