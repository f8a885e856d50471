"""Students of peaked teachers: against a plain loop, and the laws that the theory predicts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import rel_entr, softmax

from tsl_jax.simulate import TeacherStudentOptions, divergence, inverse_temperature_flow, teacher_student
from tsl_jax.simulate.softmax_student import _EVALUATION, _TEACHER, _TRAINING, _inputs
from tsl_jax.temporal import collapse, growth_exponent, time_law

SIZES = {"width": 4, "classes": 8, "batch": 16, "evaluation": 32}
COLD, WARM = 0.003, 1.0
#: Settings of one run: three learning rates at a low temperature, one at a high one.
TEMPERATURES, RATES = (COLD, COLD, COLD, WARM), (10.0, 5.0, 2.5, 1.0)


@pytest.fixture(scope="module")
def runs():
    options = TeacherStudentOptions(width=8, classes=16, batch=256, evaluation=4096, optimizer="sgd")
    record = np.unique(np.geomspace(1, 5000, 90).astype(int))
    return jax.tree.map(np.asarray, teacher_student(TEMPERATURES, RATES, record, seeds=2, options=options))


def plain(temperature, rate, record, options, key):
    """The same training by a plain loop with JAX's gradient and optax's own optimizers; losses by SciPy."""
    shape = options.width, options.classes
    teacher = jax.random.normal(jax.random.fold_in(key, _TEACHER), shape) / np.sqrt(options.width)
    examined = _inputs(jax.random.fold_in(key, _EVALUATION), options.evaluation, options.width)
    rule = {"adam": optax.adam, "sgd": optax.sgd}[options.optimizer]
    schedule = options.schedule or (lambda count: 1.0)
    rule = rule(lambda count: rate * schedule(count))
    weights = jnp.zeros(shape)
    state = rule.init(weights)

    def objective(weights, x):
        target = jax.nn.log_softmax(x @ teacher / temperature)
        return jnp.mean(jnp.sum(jnp.exp(target) * (target - jax.nn.log_softmax(x @ weights)), axis=-1))

    rows = []
    for count in range(record[-1] + 1):
        if count in record:
            z = np.asarray(examined @ weights, np.float64)
            target = softmax(np.asarray(examined @ teacher, np.float64) / temperature, axis=-1)
            rows.append((rel_entr(target, softmax(z, axis=-1)).sum(axis=-1).mean(), z.std(axis=-1).mean()))
        x = _inputs(jax.random.fold_in(jax.random.fold_in(key, _TRAINING), count), options.batch, options.width)
        update, state = rule.update(jax.grad(objective)(weights, x), state, weights)
        weights = optax.apply_updates(weights, update)
    return np.array(rows).T


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_all_at_once_is_a_plain_loop_for_each(optimizer):
    schedule = optax.linear_schedule(1.0, 0.1, 12)
    options = TeacherStudentOptions(**SIZES, optimizer=optimizer, schedule=schedule)
    temperature, rate, record = [0.1, 1.0], [0.5, 0.1], [0, 1, 5, 12]
    made = teacher_student(temperature, rate, record, seeds=2, seed=3, options=options)
    keys = jax.random.split(jax.random.key(3), 2)
    for i in range(2):
        for s in range(2):
            loss, spread = plain(temperature[i], rate[i], record, options, keys[s])
            np.testing.assert_allclose(made.loss[i, s], loss, rtol=2e-4)
            np.testing.assert_allclose(made.logit_spread[i, s], spread, rtol=2e-4, atol=1e-6)
    factor = 1 - 0.9 * np.arange(12) / 12
    np.testing.assert_allclose(made.lr_sum, np.outer(rate, [0, factor[0], factor[:5].sum(), factor.sum()]), rtol=1e-6)


def test_a_setting_does_not_know_the_others():
    options = TeacherStudentOptions(**SIZES)
    both = teacher_student([0.1, 1.0], 0.1, [10], options=options)
    alone = teacher_student(1.0, 0.1, [10], options=options)
    np.testing.assert_allclose(both.loss[1], alone.loss[0], rtol=1e-5)
    np.testing.assert_allclose(both.logit_spread[1], alone.logit_spread[0], rtol=1e-5)


def test_the_divergence_keeps_the_digits_of_small_differences():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 9)) * 3
    for size in (1e-4, 1e-2, 0.049, 0.051, 1.0, 5.0):
        other = z + size * rng.normal(size=z.shape)
        expected = rel_entr(softmax(z, axis=-1), softmax(other, axis=-1)).sum(axis=-1)
        found = divergence(*(jax.nn.log_softmax(jnp.asarray(values, jnp.float32)) for values in (z, other)))
        np.testing.assert_allclose(found, expected, rtol=0.02 if size == 1e-4 else 1e-3)
    # A class without probability in one of them.
    sure = jnp.array([0.0, -jnp.inf])
    assert float(divergence(sure, jnp.log(jnp.array([0.5, 0.5])))) == pytest.approx(np.log(2), rel=1e-6)


def test_loss_decays_exponentially_at_high_temperature(runs):
    """And not as a power law: the logarithm of the loss is a line in dynamic time over six decades."""
    for loss in runs.loss[TEMPERATURES.index(WARM)]:
        falling = (loss > 1e-9) & (loss < 1e-3)
        assert falling.sum() >= 8
        tau, log_loss = runs.lr_sum[-1][falling], np.log(loss[falling])
        assert np.corrcoef(tau, log_loss)[0, 1] ** 2 > 0.999
        assert np.corrcoef(np.log(tau), log_loss)[0, 1] ** 2 < 0.99
        assert loss[-1] < 1e-12


def test_a_trained_student_keeps_to_the_flow(runs):
    """Its logit spread is the inverse temperature of the flow at ``η·updates/classes``, from freezing on."""
    flow = inverse_temperature_flow(runs.lr_sum[0] / 16, 1 / COLD, classes=16)
    ratio = runs.logit_spread[0] / flow.beta
    assert np.all(np.abs(ratio[:, runs.step > 500] - 1) < 0.25)


def test_loss_falls_with_the_cube_root_of_dynamic_time_at_low_temperature(runs):
    """Past the freezing point of the landscape, √(2 ln classes), with margin, and far from the teacher's."""
    exponents = []
    for seed in range(2):
        spread, tau = runs.logit_spread[0, seed], runs.lr_sum[0]
        frozen = (spread > 8) & (spread < 0.1 / COLD)
        law = time_law(tau[frozen], runs.loss[0, seed][frozen], least_floor=None)
        exponents.append((float(law.params["exponent"]), float(law.stderr["exponent"])))
        assert float(law.exponent_lower) < 1 / 3 < float(law.exponent_upper)
        assert exponents[-1][1] < 0.03
        assert float(law.r2) > 0.998
        growth = growth_exponent(tau[frozen], spread[frozen])
        assert float(growth.exponent) == pytest.approx(1 / 3, abs=0.01)
    mean = np.mean([exponent for exponent, _ in exponents])
    error = np.sqrt(np.sum([stderr**2 for _, stderr in exponents])) / 2
    assert abs(mean - 1 / 3) < 1.5 * error


def test_learning_rates_fall_on_one_line_in_dynamic_time_and_not_in_steps(runs):
    taus, losses = list(runs.lr_sum[:3]), list(runs.loss[:3, 0])
    together, apart = collapse(taus, losses), collapse([runs.step] * 3, losses)
    assert float(together.unexplained) < 1e-3
    assert float(apart.spread) > 10 * float(together.spread)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "temperature: got 0, expected finite numbers above 0"),
        ({"temperature": [0.1, -1.0]}, "temperature: got -1"),
        ({"temperature": [[0.1]]}, r"temperature: got shape .1, 1."),
        ({"temperature": [0.1, np.nan]}, "temperature: got nan"),
        ({"learning_rate": -1e-3}, "learning_rate: got -0.001"),
        ({"temperature": [0.1, 1.0], "learning_rate": [1.0, 1.0, 1.0]}, "got 2 and 3 settings"),
        ({"record": []}, "record: got shape .0,"),
        ({"record": [0, 5, 5]}, "record: got 0 to 5, expected increasing steps"),
        ({"record": [-1, 5]}, "record: got -1 to 5"),
        ({"record": [0.5]}, "record: got shape .1,. of float64, expected a vector of whole numbers"),
        ({"record": [2**31]}, "expected fewer than 2.31"),
        ({"seeds": 0}, "seeds: got 0, expected a whole number, 1 or more"),
        ({"seed": 1.5}, "seed: got 1.5"),
        ({"options": TeacherStudentOptions(schedule=lambda count: 1.0 - count)}, "schedule: got -1.0 at count 2"),
    ],
)
def test_bad_settings_say_what_is_expected(arguments, message):
    arguments = {"temperature": 0.1, "learning_rate": 0.1, "record": [0, 10]} | arguments
    with pytest.raises(ValueError, match=message):
        teacher_student(arguments.pop("temperature"), arguments.pop("learning_rate"), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width: got 0"),
        ({"classes": 1}, "classes: got 1, expected a whole number, 2 or more"),
        ({"batch": True}, "batch: got True"),
        ({"evaluation": 0}, "evaluation: got 0"),
        ({"optimizer": "lion"}, "optimizer: got 'lion', expected 'adam' or 'sgd'"),
        ({"schedule": 0.1}, "schedule: got 0.1, expected a function"),
    ],
)
def test_bad_options_say_what_is_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        TeacherStudentOptions(**arguments)
