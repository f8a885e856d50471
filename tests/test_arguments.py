"""Wrong input ends in an error of the package: the argument, what came, what is expected, the way out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tsl_jax as tsl
from tsl_jax import arguments, devices
from tsl_jax.temporal import log_bins, schedule_from_optax, schedule_from_rates

STEP = np.geomspace(1.0, 1e4, 30)
LOSS = 2 + 3 * STEP**-0.4
FIT = tsl.fit(tsl.PowerLaw(), STEP, LOSS.astype("float32"))
NO_NUMBERS = {
    "object": (np.array([1.0, None] * 15), "as long as the others"),
    "text": (["1.0"] * 30, "convert the text"),
    "complex": (LOSS + 1j, "real part"),
    "dates": (np.arange(30).astype("datetime64[s]"), "divide by a unit"),
    "ragged": ([[1.0, 2.0], [3.0]], "as long as the others"),
}
#: Arrays that public functions take: of the argument's name, and of whatever it is given.
TAKERS = {
    "losses": lambda wrong: tsl.fit(tsl.PowerLaw(), STEP, wrong),
    "time": lambda wrong: tsl.fit(tsl.PowerLaw(), wrong, LOSS.astype("float32")),
    "weights": lambda wrong: tsl.fit(tsl.PowerLaw(), STEP, LOSS.astype("float32"), wrong),
    "dynamic_time": lambda wrong: tsl.time_law(wrong, LOSS),
    "loss": lambda wrong: tsl.forecast(STEP, wrong, [2e4]),
    "step": lambda wrong: tsl.forecast(wrong, LOSS, [2e4]),
    "at": lambda wrong: tsl.forecast(STEP, LOSS, wrong),
    "learning_rate": schedule_from_rates,
    "runs[0]['loss']": lambda wrong: tsl.rank([{"step": STEP, "loss": wrong}] * 2, 2e4),
    "mean": lambda wrong: tsl.position_law(np.arange(1, 31), wrong),
    "position": log_bins,
    "axis": lambda wrong: tsl.evolution(wrong, LOSS),
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize(("wrong", "cure"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_holds_no_real_numbers(name, wrong, cure):
    with pytest.raises((TypeError, ValueError)) as caught:
        TAKERS[name](wrong)
    said = str(caught.value)
    assert said.startswith(name), said
    assert "expected" in said
    assert cure in said or "astype" in said, said


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tsl.forecast(STEP, LOSS, [2e4], paths=0), r"paths: got 0, expected a whole number of at least 1"),
        (lambda: tsl.forecast(STEP, LOSS, [2e4], paths="many"), r"paths: got 'many'"),
        (lambda: tsl.forecast(STEP, LOSS, 2e4), r"at: got shape \(\), .*such as \[10000\]"),
        (lambda: tsl.forecast(STEP, LOSS, [2e4], key=3), r"key: got 3, expected one random key"),
        (lambda: tsl.rank("ab", 2e4), r"runs: got str, expected a list of mappings"),
        (lambda: tsl.rank([{}, {}], 2e4), r"runs\[0\]: got \[\], expected step, loss too"),
        (lambda: tsl.rank([{"step": STEP, "loss": 5.0}] * 2, 2e4), r"runs\[0\]: got step and loss of shapes \(30,\)"),
        (lambda: tsl.rank([{"step": STEP[1:], "loss": LOSS}] * 2, 2e4), r"runs\[0\]: .*\(29,\) and \(30,\)"),
        (lambda: tsl.rank([{"step": STEP, "loss": LOSS}] * 2, float("nan")), "at: got nan, expected a later step"),
        (lambda: tsl.time_law(STEP, LOSS, weights=-np.ones(30)), r"weights: got -1.0, expected finite .*0 or above"),
        (lambda: tsl.time_law(STEP, LOSS, level="high"), r"level: got 'high', expected a probability"),
        (lambda: tsl.position_law(np.arange(1, 31), LOSS, -LOSS), r"stderr: got -.*, expected positive"),
        (lambda: tsl.position_law(np.arange(1, 31), LOSS, np.ones(7)), r"stderr: got shape \(7,\), expected that of"),
        (lambda: FIT.predict(100), r"time: got shape \(\), expected \(times,\), such as \[100\]"),
        (lambda: FIT.predict(["a"]), r"time: got dtype .*, expected real numbers"),
        (lambda: FIT.interval("floor", level=True), r"level: got True"),
        (lambda: tsl.LeastSquaresOptions(max_steps="a"), r"LeastSquaresOptions.max_steps: got 'a'"),
        (lambda: tsl.least_squares(3, np.ones(2)), r"residual: got int, expected a function"),
        (lambda: tsl.least_squares(lambda p: p["a"], {"a": LOSS + 1j}), r"p0\['a'\]: got dtype complex128"),
        (lambda: tsl.least_squares(lambda p: p, ["a"]), r"p0\[0\]: got 'a', expected real numbers"),
        (lambda: tsl.least_squares(lambda p: p[:1], [1.0, np.nan]), r"p0\[1\]: got nan, expected a finite start"),
        (lambda: tsl.lr_sum([1e-3], [1]), r"schedule: got list, expected a Schedule"),
        (lambda: schedule_from_optax(1e-3, 10), r"rate_of: got float, expected a function"),
        (lambda: tsl.noise_model(tsl.PowerLaw(), STEP, np.ones((40, 30)), seed=-1), r"seed: got -1"),
    ],
)
def test_other_wrong_arguments(call, said):
    with pytest.raises((TypeError, ValueError), match=said):
        call()


def test_lists_columns_and_traced_numbers_are_arrays():
    assert arguments.real_array("a", [1, 2.5]).tolist() == [1, 2.5]
    assert arguments.real_array("a", jnp.ones(2, "bfloat16")).dtype == "bfloat16"
    assert jax.jit(lambda a: arguments.real_array("a", [a, a]) * 2)(1.5).tolist() == [3, 3]
    with pytest.raises(TypeError, match="a: got an array that JAX is tracing"):
        jax.jit(lambda a: arguments.known_array("a", a))(1.5)


def test_weights_of_truth_values_are_masks():
    kept = np.arange(30) > 3
    fits = [tsl.fit(tsl.PowerLaw(), STEP, LOSS.astype("float32"), weights) for weights in (kept, kept.astype(float))]
    assert fits[0].num_points == fits[1].num_points == 26


def test_losses_that_are_log_probabilities_are_said(recwarn):
    with pytest.warns(UserWarning, match=r"negative.*Log-probabilities\? A loss is -x.*min_plateau=None") as said:
        tsl.fit(tsl.PowerLaw(), STEP, -LOSS.astype("float32"))
    assert len(said) == 1
    assert said[0].filename == __file__
    tsl.fit(tsl.PowerLaw(), STEP, -LOSS.astype("float32"), options=tsl.FitOptions(min_plateau=None))
    jax.jit(lambda y: tsl.fit(tsl.PowerLaw(), STEP, y))(-LOSS.astype("float32"))  # not known, so not said
    few = LOSS.astype("float32")
    few[:10] = -0.1
    tsl.fit(tsl.PowerLaw(), STEP, few)


def test_no_device_is_said_once_and_for_all(monkeypatch):
    def none():
        raise AssertionError

    devices.a_device.cache_clear()
    monkeypatch.setattr(jax, "local_devices", none)
    monkeypatch.setattr(type(jax.config), "jax_platforms", "cuda", raising=False)
    with pytest.raises(devices.NoDeviceError, match="JAX_PLATFORMS=cuda: JAX finds no such device here"):
        tsl.fit(tsl.PowerLaw(), STEP, LOSS.astype("float32"))
