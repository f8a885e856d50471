"""Every family against its own law, in named parameters, on even, geometric and irregular axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tolerances import DERIVATIVE, FORMULA
from tsl_jax import FAMILIES, Family, Hyperbola, PowerLaw, Sigmoid

ALL = (Sigmoid(scale="log"), Sigmoid(scale="linear"), Hyperbola(), PowerLaw())
AXES = {
    "even": np.arange(1.0, 65.0),
    "geometric": np.geomspace(10.0, 1e5, 64),
    "irregular": np.array([1.0, 2.0, 3.0, 50.0, 51.0, 52.0, 53.0, 800.0, 810.0, 4000.0]),
    "tokens": np.geomspace(1e8, 1e12, 33),
    "far from zero": 1e8 + np.arange(64.0),
}

families = pytest.mark.parametrize("family", ALL, ids=lambda f: f"{f.name}-{f.scale}")
axes = pytest.mark.parametrize("axis", AXES.values(), ids=AXES.keys())


def standardised(family, axis):
    u = family.coordinate(axis)
    origin, unit = family.window(u)
    return (u - origin) / unit, (origin, unit)


def moderate_theta(family, x, seed=0, num=20):
    """(theta, num) inside the bounds, away from their ends, where curves are neither straight nor steps."""
    lower, upper = (np.asarray(b) for b in family.bounds(jnp.asarray(x)))
    middle = np.linspace(0.2, 0.5, num) if len(lower) == 1 else np.random.default_rng(seed).uniform(0.35, 0.6, (2, num))
    return lower[:, None] + (upper - lower)[:, None] * np.broadcast_to(middle, (len(lower), num))


@families
@axes
def test_named_parameters_give_the_same_curve(family, axis):
    with jax.enable_x64(True):
        x, window = standardised(family, axis)
        theta = jnp.asarray(moderate_theta(family, x))
        offset, amplitude = jnp.linspace(1, 3, 20), jnp.linspace(-2, 5, 20)
        named = family.named(offset, amplitude, theta, window)
        assert tuple(named) == family.names
        if family.name == "power_law" and axis[-1] < 1.1 * axis[0]:
            pytest.skip("exponents of 10^8 have no coefficient within floating-point range")
        got = family.curve(axis, {name: value[:, None] for name, value in named.items()})
        expected = offset[:, None] + amplitude[:, None] * family.shape(x, theta[:, :, None])
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)  # ln(1e8 + i) has lost digits


@families
@axes
def test_shape_and_complement_are_halves_of_one(family, axis):
    x, _ = standardised(family, axis)
    x = jnp.asarray(x, jnp.float32)
    theta = family.grid(x).T[:, :, None]
    f, e = family.shape(x, theta), family.complement(x, theta)
    assert f.shape == (theta.shape[1], len(axis))
    np.testing.assert_allclose(f + e, 1, rtol=FORMULA.float32)
    assert np.all((f >= 0) & (f <= 1) & (e >= 0) & (e <= 1))


@families
@axes
def test_grid_lies_inside_the_bounds(family, axis):
    x, _ = standardised(family, axis)
    x = jnp.asarray(x, jnp.float32)
    lower, upper = family.bounds(x)
    grid = family.grid(x)
    assert grid.dtype == lower.dtype == upper.dtype == jnp.float32
    assert np.all(lower < upper)
    slack = 1e-6 * (upper - lower)
    assert np.all((grid >= lower - slack) & (grid <= upper + slack))
    assert np.all(np.isfinite(family.shape(x, jnp.stack([lower, upper], axis=1)[:, :, None])))


@families
@pytest.mark.parametrize("num", [5, 24, 512])
def test_the_number_of_templates_depends_on_the_number_of_checkpoints_alone(family, num):
    sizes = {len(family.grid(jnp.asarray(x))) for x in (np.linspace(0.01, 1, num), np.geomspace(0.01, 1, num))}
    assert len(sizes) == 1


@families
def test_slopes_against_finite_differences(family):
    with jax.enable_x64(True):
        x, _ = standardised(family, AXES["geometric"])
        theta = moderate_theta(family, x)
        step = 1e-6
        for k in range(len(theta)):
            direction = np.zeros_like(theta)
            direction[k] = 1
            for f in (family.shape, family.complement):
                _, slope = jax.jvp(lambda t, f=f: f(x, t[:, :, None]), (theta,), (direction,))
                up, down = (f(x, (theta + s * step * direction)[:, :, None]) for s in (1, -1))
                np.testing.assert_allclose(slope, (up - down) / (2 * step), atol=DERIVATIVE.float64)


@families
def test_slopes_stay_finite_at_the_bounds(family):
    x, _ = standardised(family, AXES["irregular"])
    x = jnp.asarray(x, jnp.float32)
    corners = jnp.stack(jnp.meshgrid(*jnp.stack(family.bounds(x)).T, indexing="ij")).reshape(
        len(family.bounds(x)[0]), -1
    )
    slopes = jax.jacfwd(lambda t: family.shape(x, t[:, :, None]))(corners)
    assert np.all(np.isfinite(slopes))


def test_sigmoid_is_the_law_of_its_docstring():
    step = np.array([1.0, 100.0, 1e4])
    params = {"learning_time": 100.0, "sharpness": 2.0, "loss_drop": 4.0, "final_loss": 1.5}
    expected = [1.5 + 4 / (1 + 100.0**-2), 3.5, 1.5 + 4 / (1 + 100.0**2)]
    np.testing.assert_allclose(Sigmoid(scale="log").curve(step, params), expected, rtol=FORMULA.float32)
    linear = Sigmoid(scale="linear").curve(step, params | {"sharpness": 0.01})
    np.testing.assert_allclose(linear[1], 3.5, rtol=FORMULA.float32)
    np.testing.assert_allclose(linear[0], 1.5 + 4 / (1 + np.exp(-0.99)), rtol=FORMULA.float32)


def test_hyperbola_and_power_law_are_the_laws_of_their_docstrings():
    i = np.array([1.0, 10.0, 100.0])
    got = Hyperbola().curve(i, {"amplitude": 2.0, "rate": 0.1, "floor": 3.0})
    np.testing.assert_allclose(got, [2 / 1.1 + 3, 4, 2 / 11 + 3], rtol=FORMULA.float32)
    got = PowerLaw().curve(i, {"coefficient": 7.0, "exponent": 0.5, "floor": 2.0})
    np.testing.assert_allclose(got, [9, 7 / np.sqrt(10) + 2, 2.7], rtol=FORMULA.float32)


@pytest.mark.parametrize(
    ("family", "scale"),
    [(Sigmoid, "cubic"), (Sigmoid, ""), (Hyperbola, "log"), (PowerLaw, "linear"), (Sigmoid, None)],
)
def test_a_scale_that_a_family_does_not_have_is_refused(family, scale):
    with pytest.raises(ValueError, match=r"scale: got .*expected") as caught:
        family(scale=scale)
    assert repr(scale) in str(caught.value)


def test_the_table_of_families_holds_their_names_and_units():
    assert list(FAMILIES) == ["sigmoid", "hyperbola", "power_law"]
    assert FAMILIES["sigmoid"]().names == ("learning_time", "sharpness", "loss_drop", "final_loss")
    assert FAMILIES["hyperbola"]().names == ("amplitude", "rate", "floor")
    assert FAMILIES["power_law"]().names == ("coefficient", "exponent", "floor")
    for family in FAMILIES.values():
        assert issubclass(family, Family)
        assert all(parameter.unit for parameter in family.parameters)
        assert hash(family()) == hash(family())
