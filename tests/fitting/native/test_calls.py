"""What the kernel in C++ is given by hand: arrays of other shapes, and constants that are not there, are errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import CHECKPOINTS, CURVES, SIGMOID, clean
from tests.needed import missing
from tsl_jax import FitOptions
from tsl_jax.fitting import native
from tsl_jax.fitting.measures import _method as measure_method
from tsl_jax.fitting.native.call import _method
from tsl_jax.fitting.noise import assumed_noise
from tsl_jax.fitting.preparation import prepare

SIZE = 4


@pytest.fixture(scope="module", autouse=True)
def _kernel():
    if cause := native.why_missing():
        missing(f"the native kernel: {cause}")


def solve_arguments():
    """The arrays of a call, by name, with their shapes; and its constants."""
    x = jnp.linspace(0, 1, CHECKPOINTS)
    block = prepare(SIGMOID, FitOptions(), x, jnp.asarray(clean()), None)[0]
    grid = SIGMOID.grid(x)
    lower, upper = SIGMOID.bounds(x)
    arrays = {"x": x, "losses": block.loss.T, "weights": block.weight.T, "least": block.least, "most": block.most}
    arrays |= {"lower": lower, "upper": upper, "grid": grid, "shapes": SIGMOID.shape(x, grid.T[:, :, None])}
    return arrays, dict(_method(FitOptions(), float(jnp.finfo(jnp.float32).eps))) | {"family": "sigmoid"}


def measure_arguments():
    arrays, _ = solve_arguments()
    arrays = {name: arrays[name] for name in ("x", "losses", "weights")}
    arrays["coefficients"] = jnp.ones((SIZE, CURVES))
    arrays["active"] = jnp.zeros((SIZE, CURVES), bool)
    arrays |= assumed_noise("correlated", None, CHECKPOINTS, jnp.float32)._asdict()
    return arrays, measure_method() | {"family": "sigmoid"}


def results_of(target):
    kinds = {
        native.SOLVE: [((SIZE, CURVES), np.float32), ((SIZE, CURVES), bool), ((CURVES,), bool), ((CURVES,), np.int32)],
        native.MEASURE: [((SIZE, SIZE, CURVES), np.float32)] * 2 + [((CURVES,), np.float32)] * 10,
    }
    return [jax.ShapeDtypeStruct(*kind) for kind in kinds[target]]


CALLS = {native.SOLVE: solve_arguments, native.MEASURE: measure_arguments}


def call(target, arrays, attributes, results=None):
    return jax.block_until_ready(
        jax.ffi.ffi_call(target, results or results_of(target))(*arrays.values(), **attributes)
    )


@pytest.mark.parametrize("target", CALLS)
def test_every_array_of_another_shape_is_refused_by_name(target):
    arrays, attributes = CALLS[target]()
    call(target, arrays, attributes)  # right as it is
    for name, array in arrays.items():
        for wrong in (array[:-1], array[None], jnp.concatenate([array, array], axis=-1)):
            with pytest.raises(jax.errors.JaxRuntimeError, match="expected") as error:
                call(target, arrays | {name: wrong}, attributes)
            # Losses and templates are what the others are measured by.
            assert name in ("losses", "shapes") or f"{name}: got shape" in str(error.value)


@pytest.mark.parametrize("target", CALLS)
def test_every_result_of_another_shape_is_refused(target):
    arrays, attributes = CALLS[target]()
    for k, result in enumerate(results_of(target)):
        results = results_of(target)
        results[k] = jax.ShapeDtypeStruct((*result.shape[:-1], CURVES - 1), result.dtype)
        with pytest.raises(jax.errors.JaxRuntimeError, match=r"got shape .*, expected"):
            call(target, arrays, attributes, results)


@pytest.mark.parametrize("target", CALLS)
def test_every_constant_is_needed(target):
    arrays, attributes = CALLS[target]()
    for name in attributes:
        with pytest.raises(jax.errors.JaxRuntimeError, match=name):
            call(target, arrays, {other: value for other, value in attributes.items() if other != name})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"runs": np.int32(0)}, "runs: expected 1 to 16"),
        ({"runs": np.int32(17)}, "runs: expected 1 to 16"),
        ({"family": "gauss"}, "unknown family"),
        ({"family": "hyperbola"}, "got shape"),
    ],
)
def test_other_constants_are_refused(change, told):
    arrays, attributes = solve_arguments()
    with pytest.raises(jax.errors.JaxRuntimeError, match=told):
        call(native.SOLVE, arrays, attributes | change)


@pytest.mark.parametrize("name", ["losses", "shapes"])
def test_nothing_to_measure_by_is_refused(name):
    arrays, attributes = solve_arguments()
    with pytest.raises(jax.errors.JaxRuntimeError, match="expected 1 to"):
        call(native.SOLVE, arrays | {name: arrays[name][:, :0] if name == "losses" else arrays[name][:0]}, attributes)
