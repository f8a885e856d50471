"""The separation point: planted truth with coverage, runs that have not reached it, runs without one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.temporal.planted_positions import NOISE, POSITION, SEPARATION, STEP, covered, noisy, truth
from tsl_jax import Status
from tsl_jax.temporal import PositionLaw, position_law, separation
from tsl_jax.temporal.positions.change_point import COEFFICIENTS, profile
from tsl_jax.temporal.positions.point_bounds import drawn_noise

pytestmark = pytest.mark.usefixtures("optimised")


def laws(seed, params=None) -> PositionLaw:
    return position_law(POSITION, noisy(seed, params), np.full_like(POSITION, NOISE))


@jax.jit
@jax.vmap
def of_each(law):
    return separation(STEP, law)


@functools.cache
def planted():
    return jax.tree.map(np.asarray, of_each(laws(1)))


def test_the_planted_point_lies_within_the_interval_as_often_as_it_says():
    found = planted()
    assert 0.8 < covered(found) < 0.98
    assert np.all(found.change_p_value < 0.05)
    assert found.reached.mean() > 0.9
    error = np.log(found.point / SEPARATION)
    assert abs(np.median(error)) < 0.05
    assert np.all((found.lower <= found.point) & (found.point <= found.upper))
    for name in ("amplitude", "rate"):
        z = (getattr(found, name) - truth()[name][-1]) / getattr(found, f"{name}_stderr")
        assert abs(np.median(z)) < 0.5
        assert 0.7 < np.quantile(np.abs(z), 0.68) < 1.4


@pytest.mark.parametrize("run", [0, 5])
def test_one_known_law_has_the_point_of_a_program_of_many(run):
    found, of_many = separation(STEP, jax.tree.map(lambda a: a[run], laws(1))), planted()
    for name in ("point", "lower", "upper", "change_p_value", "amplitude", "rate", "rate_stderr", "start"):
        np.testing.assert_allclose(getattr(found, name), getattr(of_many, name)[run], rtol=2e-4, err_msg=name)
    np.testing.assert_allclose(found.chi2, of_many.chi2[run], rtol=1e-3)
    assert bool(found.reached) == bool(of_many.reached[run])
    assert int(found.num_checkpoints) == of_many.num_checkpoints[run]


def test_noise_is_the_same_for_known_and_traced_values_of_any_dtype():
    kinds = (np, "float64"), (jnp, "float32"), (jnp, "float64")
    with jax.enable_x64(True):
        drawn = [drawn_noise(np.float32(4), xp.ones((5, 2, 2), dtype)) for xp, dtype in kinds]
    for other in drawn[1:]:
        np.testing.assert_allclose(other, drawn[0], rtol=1e-6)


def test_a_run_that_still_changes_has_not_reached_it():
    changing = truth() | {"rate": 0.2 + 0.08 * np.log(1e5 / STEP), "amplitude": 2.0 + 0.3 * np.log(1e5 / STEP)}
    found = of_each(laws(3, changing))
    assert np.mean(found.reached) < 0.1
    assert np.median(found.lower) > 0.5 * STEP[-1]
    np.testing.assert_allclose(found.upper[~found.reached], STEP[-1], rtol=0.02)


def test_a_run_that_never_changes_says_so():
    constant = truth() | {"rate": np.full(len(STEP), 0.2), "amplitude": np.full(len(STEP), 2.0)}
    found = jax.tree.map(np.asarray, of_each(laws(4, constant)))
    assert np.mean(found.change_p_value < 0.1) < 0.25
    unseen = found.change_p_value > 0.1
    np.testing.assert_allclose(found.point[unseen], found.start[unseen])
    np.testing.assert_allclose(found.lower[unseen], found.start[unseen])
    np.testing.assert_allclose(found.upper[unseen], STEP[-1], rtol=1e-5)
    z = (found.amplitude - 2.0)[unseen] / found.amplitude_stderr[unseen]
    assert 0.7 < z.std() < 1.3


def test_early_training_without_this_form_is_left_out():
    strange = truth()
    for name, factor in (("amplitude", 0.2), ("rate", 4.0)):
        strange[name] = np.where(STEP < 40, strange[name] * factor, strange[name])
    found = jax.tree.map(np.asarray, of_each(laws(5, strange)))
    assert np.all(found.start >= 39)
    assert covered(found) > 0.8


def test_sums_of_squares_are_those_of_a_slow_fit():
    random = np.random.default_rng(0)
    u = np.linspace(0.0, 3.0, 12)
    factors = random.normal(size=(12, 2, 2)) + 3 * np.eye(2)
    y = random.normal(size=(12, 2))
    whitened = np.einsum("cij,cj->ci", factors, y)
    arrays = (jnp.asarray(a, jnp.float32) for a in (u, [1.6, 2.3], factors, whitened[..., None]))
    found = profile(*arrays)
    for k, candidate in enumerate((1.6, 2.3)):
        h = np.maximum(candidate - u, 0)
        design = np.stack([h**power for power in range(4)], axis=1)
        columns = np.einsum("cij,ck->cikj", factors, design).reshape(24, COEFFICIENTS)
        best, rss, *_ = np.linalg.lstsq(columns, whitened.ravel(), rcond=None)
        np.testing.assert_allclose(found.chi2[k, 0], rss[0], rtol=1e-4)
        np.testing.assert_allclose(found.end[k, 0], best[:2], rtol=1e-3)


def test_too_few_checkpoints_among_many_runs_are_nan_and_said():
    few = laws(1)
    few = dataclasses.replace(few, status=few.status.at[3, 5:].set(Status.AT_BOUND))
    found = jax.tree.map(np.asarray, of_each(few))
    assert found.num_checkpoints[3] == 5
    assert np.isnan([found.point[3], found.lower[3], found.upper[3], found.amplitude[3]]).all()
    assert not found.reached[3]
    others = np.arange(len(found.point)) != 3
    np.testing.assert_array_equal(found.point[others], planted().point[others])


def one_law(change=lambda a: a):
    return jax.tree.map(lambda a: change(a[0]), laws(1))


@pytest.mark.parametrize(
    ("axis", "law", "options", "message"),
    [
        (STEP[:1], one_law, {}, "axis: got 1 checkpoints, expected at least 8"),
        (STEP[::-1], one_law, {}, "sort the checkpoints"),
        (np.where(STEP[3] == STEP, STEP[2], STEP), one_law, {}, "drop repeated"),
        (STEP[:20], one_law, {}, "law: its arrays have shape"),
        (STEP, lambda: laws(1), {}, "one run"),
        (STEP, one_law, {"level": 90}, "level: got 90"),
        (STEP, one_law, {"start": 5e3}, "determined at 3 of 24 checkpoints.*more sequences"),
    ],
)
def test_bad_input_names_the_cure(axis, law, options, message):
    with pytest.raises(ValueError, match=message):
        separation(axis, law(), **options)
