"""NumPy arrays that JAX does not take as they are: other byte orders, long doubles."""

import jax.numpy as jnp
import numpy as np
import pytest
import zarr

import tsl_jax as tsl
from tsl_jax.curves import jax_array, native

STEP = np.geomspace(1, 1e4, 40)
LOSSES = 1 + 6 / (1 + (STEP / np.array([[30.0], [100.0]])) ** 2)
KINDS = (">f4", "<f4", ">f8", np.longdouble)


@pytest.mark.parametrize("kind", [*KINDS, ">f2", ">i4", bool])
def test_values_stay_as_they_are(kind):
    values = np.array([[0, 1, 2], [3, 4, 5]]).astype(kind)
    assert native(values).dtype.isnative
    np.testing.assert_array_equal(jax_array(values), values)
    assert native(values[0, 1]) == values[0, 1]


def test_what_is_no_array_of_numpy_is_left_alone():
    for value in (3, [1.0], None, jnp.ones(2)):
        assert native(value) is value


RUN = np.arange(1, 400.0) * 10
FALL = 3 + 20 * RUN**-0.5 + np.random.default_rng(0).normal(0, 1e-3, len(RUN))
PLACES = np.arange(1, 65.0)
CALLS = {
    "fit": lambda of: tsl.fit(tsl.Sigmoid(), of(STEP), of(LOSSES), of(np.ones(40))).params["learning_time"],
    "predict": lambda of: tsl.fit(tsl.Sigmoid(), STEP, LOSSES).predict(of(STEP)),
    "hyperbola": lambda of: tsl.fit(tsl.Hyperbola(), PLACES, of(2 / (1 + 0.1 * PLACES))[None]).predict(of(PLACES)),
    "power law": lambda of: tsl.PowerLaw().curve(of(RUN), {"coefficient": 20.0, "exponent": 0.5, "floor": 3.0}),
    "position_law": lambda of: tsl.position_law(of(PLACES), of(2 / (1 + 0.1 * PLACES))[None]).params["rate"],
    "time_law": lambda of: tsl.time_law(of(RUN), of(FALL)).params["exponent"],
    "evolution": lambda of: tsl.evolution(of(RUN[:12]), of(np.linspace(1, 2, 12)), of(np.full(12, 0.1))).aicc,
    "least_squares": lambda of: tsl.least_squares(lambda p: p - jnp.arange(3.0), of(np.ones(3))).params,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_public_functions_take_them(name, kind):
    """As the same values in float32, which is what JAX computes in."""
    expected = CALLS[name](lambda values: np.asarray(values, np.float32))
    np.testing.assert_allclose(CALLS[name](lambda values: values.astype(kind)), expected, rtol=2e-4)


def test_loss_stores_are_written_from_them():
    store = tsl.create_losses(
        zarr.storage.MemoryStore(),
        LOSSES.astype(">f4"),
        checkpoints={"step": STEP.astype(np.longdouble)},
        tokens={"position": np.arange(2, dtype=">i4")},
    )
    assert store.losses.dtype == np.float32
    np.testing.assert_array_equal(store.read(), LOSSES.astype("f4"))
    np.testing.assert_array_equal(store.axis("step"), STEP)
    np.testing.assert_array_equal(store.read_coordinate("position"), [0, 1])
    with pytest.raises(ValueError, match=r"losses: got dtype .*; name one in dtype="):
        tsl.create_losses(zarr.storage.MemoryStore(), LOSSES.astype(np.longdouble), checkpoints={"step": STEP})
