"""What is known to be wrong raises at once: the argument, what came, what is expected, the way out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import AXIS, CHECKPOINTS, ONE_START, fitter, noisy, same_bits
from tsl_jax import FitOptions, Hyperbola, PowerLaw, Sigmoid, fit
from tsl_jax.fitting import check_axis
from tsl_jax.fitting.checks import warn_of_negative

GOOD = np.ones((3, CHECKPOINTS), np.float32)


def with_value(index, value):
    axis = AXIS.copy()
    axis[index] = value
    return axis


@pytest.mark.parametrize(
    ("axis", "parts"),
    [
        (with_value(5, AXIS[4]), ["time", "index 5", "increasing", "drop repeated"]),
        (AXIS[::-1], ["time", "index 1", "increasing", "sort"]),
        (with_value(0, -1.0), ["time", "-1", "index 0", "log scale", "scale='linear'"]),
        (with_value(7, np.nan), ["time", "nan", "index 7"]),
        (with_value(-1, np.inf), ["time", "inf", f"index {CHECKPOINTS - 1}"]),
    ],
    ids=["repeated", "falling", "negative", "NaN", "infinite"],
)
def test_axes_that_cannot_be(axis, parts):
    with pytest.raises(ValueError, match=parts[0]) as caught:
        fit(Sigmoid(), axis, GOOD)
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize("axis", [np.arange(CHECKPOINTS) + 1j, np.array(["1"] * CHECKPOINTS), AXIS > 0])
def test_axes_that_are_no_numbers(axis):
    with pytest.raises(TypeError, match=r"time: got dtype .*, expected real numbers"):
        fit(Sigmoid(), axis, GOOD)


@pytest.mark.parametrize(
    ("time", "losses"),
    [
        (AXIS, GOOD[:, :-1]),
        (AXIS, GOOD.T),
        (AXIS[None], GOOD),
        (5.0, GOOD),
        (AXIS, np.float32(1)),
        (AXIS, np.ones((0,), np.float32)),
    ],
)
def test_shapes_that_disagree(time, losses):
    with pytest.raises(ValueError, match=r"losses: got shape .* with time of shape .*, expected .*transpose"):
        fit(Sigmoid(), time, losses)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (2, CHECKPOINTS), (3, CHECKPOINTS - 1)])
def test_weights_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"weights: got shape") as caught:
        fit(Sigmoid(), AXIS, GOOD, np.ones(shape, np.float32))
    assert str(shape) in str(caught.value)
    assert str(GOOD.shape) in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.complex64, bool])
def test_losses_that_are_no_floating_point_numbers(dtype):
    cure = "real part" if dtype is np.complex64 else "a floating-point dtype.*astype"
    with pytest.raises(TypeError, match=rf"losses: got dtype .*expected .*{cure}") as caught:
        fit(Sigmoid(), AXIS, GOOD.astype(dtype))
    assert np.dtype(dtype).name in str(caught.value)


@pytest.mark.parametrize(("family", "needed"), [(Sigmoid(), 5), (Hyperbola(), 4), (PowerLaw(), 4)])
def test_too_few_checkpoints(family, needed):
    with pytest.raises(ValueError, match=f"got {needed - 1} usable checkpoints, expected at least {needed}"):
        fit(family, AXIS[: needed - 1], GOOD[:, : needed - 1])
    jax.eval_shape(lambda y: fit(family, AXIS[:needed], y), GOOD[:, :needed])
    if family.scale == "log":
        # A checkpoint at 0 does not count on a log scale.
        with pytest.raises(ValueError, match=f"got {needed - 1} usable checkpoints"):
            fit(family, np.arange(needed), GOOD[:, :needed])


def test_a_checkpoint_at_zero_is_left_out_on_a_log_scale():
    losses = noisy()
    first = np.full((len(losses), 1), 9.0, np.float32)
    weights = np.linspace(0.5, 2, CHECKPOINTS).astype(np.float32)
    longer = fitter(axis=np.concatenate([[0.0], AXIS]))
    found = longer(np.concatenate([first, losses], axis=1), np.concatenate([[7], weights]).astype(np.float32))
    assert np.all(found.num_points == CHECKPOINTS)
    assert same_bits(found, fitter()(losses, weights))
    assert len(check_axis(Sigmoid(), [0, 1, 2])) == 2
    assert len(check_axis(Sigmoid(scale="linear"), [0, 1, 2])) == 3


@pytest.mark.parametrize("family", ["sigmoid", Sigmoid, None])
def test_unknown_families(family):
    with pytest.raises(TypeError, match=r"family: got .*expected an instance such as tsl_jax.Sigmoid\(\)"):
        fit(family, AXIS, GOOD)


@pytest.mark.parametrize("options", [{"starts": 1}, None, "fast"])
def test_options_of_another_type(options):
    with pytest.raises(TypeError, match=r"options: got .*, expected tsl_jax.FitOptions"):
        fit(Sigmoid(), AXIS, GOOD, options=options)


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_test": "t_test"},
        {"significance": 0.0},
        {"significance": 1.0},
        {"significance": np.nan},
        {"huber_threshold": 0.0},
        {"huber_threshold": -1.0},
        {"max_plateau_ratio": 0.0},
        {"tolerance": -1e-6},
        {"max_steps": 0},
        {"starts": 0},
        {"block_size": 0},
    ],
    ids=str,
)
def test_option_values_out_of_range(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"FitOptions.{name}: got .*, expected .+") as caught:
        FitOptions(**wrong)
    assert repr(value) in str(caught.value)


def test_an_unknown_option():
    with pytest.raises(TypeError, match="learning_rate"):
        FitOptions(learning_rate=1)


def test_options_and_families_are_hashable_and_frozen():
    assert hash(FitOptions(starts=1)) == hash(ONE_START)
    with pytest.raises(AttributeError):
        ONE_START.starts = 2
    with pytest.raises(AttributeError):
        Sigmoid().scale = "linear"


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32])
def test_gaps_are_looked_at_without_a_warning_in_every_dtype(dtype):
    losses = np.where(np.arange(CHECKPOINTS) % 3 == 0, np.nan, -GOOD).astype(dtype)
    with pytest.warns(UserWarning, match="most are negative") as told:
        warn_of_negative(losses, FitOptions())
    assert len(told) == 1
