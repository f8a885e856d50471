"""The kernel in C++, for CPUs and for GPUs, against the one that XLA compiles, its reference; and who gets which."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.fitting import native_operations
from benchmarks.fitting.problems import hyperbolas, power_laws, sigmoids
from tests import emulated_gpu
from tests.fitting.planted import AXIS, SIGMOID, assert_same_minimum, clean, noisy, options_of, same_bits
from tests.needed import missing
from tsl_jax import FAMILIES, FitOptions, Sigmoid, fit
from tsl_jax.fitting import chosen_kernel, has_parameters, native, row_multiple
from tsl_jax.fitting.kernel_check import difference
from tsl_jax.fitting.measures import measure
from tsl_jax.fitting.native import building
from tsl_jax.fitting.noise import Noise, assumed_noise
from tsl_jax.fitting.preparation import prepare
from tsl_jax.fitting.solution import solve
from tsl_jax.fitting.xla.search import NUM_RUNS

CAUSE = native.why_missing()
NUM_CURVES = 600
MAKERS = {"sigmoid": sigmoids, "hyperbola": hyperbolas, "power_law": power_laws}  # (seed, curves, checkpoints)
OPTIONS = {
    "one start": {"starts": 1},
    "many starts": {"starts": 16},
    "few steps": {"max_steps": 4},
    "free plateaus": {"min_plateau": None},
    "low ceiling": {"max_plateau_ratio": 1.2},
    "coarse": {"tolerance": 1e-3},
    "robust": {"huber_threshold": 1.345},
}


@pytest.fixture(params=["native", "emulated"], scope="module")
def compiled(request):
    """The kernel for CPUs; and the one for GPUs, in an emulator that runs on a CPU."""
    if CAUSE:
        pytest.skip(f"the native kernel: {CAUSE}")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "emulated":
            if cause := emulated_gpu.why_missing():
                missing(f"the native kernel for GPUs: {cause}")
            patch.setitem(native.TARGETS, "emulated", (emulated_gpu.SOLVE, emulated_gpu.MEASURE))
        yield request.param


def fitted_by(kernel, problem, losses, weights=None, **options):
    family, chosen = FAMILIES[problem.family](scale=problem.scale), options_of(kernel, **options)
    return jax.tree.map(np.asarray, fit(family, jnp.asarray(problem.time), losses, weights, options=chosen))


def both(compiled, *args, **options):
    return [fitted_by(kernel, *args, **options) for kernel in (compiled, "xla")]


def assert_agree(found, reference, losses, time):
    """The same minimum to rounding, but for a few curves with two that are all but equally good."""
    has = has_parameters(reference.status)
    np.testing.assert_array_equal(has_parameters(found.status), has)
    np.testing.assert_array_equal(found.num_points, reference.num_points)
    floor = np.nansum(np.square(losses), axis=1)[has] * (8 * np.finfo(np.float32).eps) ** 2
    ours, theirs = found.rss[has], reference.rss[has]
    apart = np.abs(ours - theirs) > 2e-3 * theirs + floor
    print(f"{apart.sum()} of {apart.size} curves apart, {np.sum(apart & (ours > theirs))} of them worse")
    assert np.mean(apart) <= 0.01
    close = has.copy()
    close[has] = (np.abs(ours - theirs) <= 1e-5 * theirs) & (reference.status[has] == 0) & (found.status[has] == 0)
    for name, value in reference.params.items():
        unit = reference.stderr[name][close]
        shift = np.abs(found.params[name] - value)[close][np.isfinite(unit)]
        # An rss within 1e-5 of the least one is within a hundredth or so of a standard error of its parameters.
        assert np.quantile(shift / unit[np.isfinite(unit)], 0.99) < 0.05, name
    # What the losses show of a curve are its values at the checkpoints, also where parameters are not determined.
    curves = [np.asarray(each.predict(time, kind="curve"))[close] for each in (found, reference)]
    scatter = np.sqrt((theirs[close[has]] + floor[close[has]]) / np.maximum(reference.num_points[close] - 4, 1))
    apart = np.abs(curves[0] - curves[1]) / scatter[:, None]
    assert np.quantile(np.where(np.isnan(losses[close]), 0, apart).max(axis=1), 0.99) < 0.05


@pytest.mark.parametrize("num_checkpoints", [5, 16, 64, 101])
@pytest.mark.parametrize("family", MAKERS)
def test_it_finds_what_the_reference_finds(compiled, family, num_checkpoints):
    problem = MAKERS[family](num_checkpoints, NUM_CURVES, num_checkpoints)
    assert_agree(*both(compiled, problem, problem.losses), problem.losses, problem.time)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_follows_every_option(compiled, name):
    problem = sigmoids(seed=7, num_curves=NUM_CURVES, num_checkpoints=40)
    found, reference = both(compiled, problem, problem.losses, **OPTIONS[name])
    assert_agree(found, reference, problem.losses, problem.time)
    plain = fitted_by(compiled, problem, problem.losses)
    assert not same_bits(found, plain)  # the option is not passed over


@pytest.mark.parametrize("family", MAKERS)
def test_gaps_and_weights(compiled, family):
    rng = np.random.default_rng(3)
    problem = MAKERS[family](5, NUM_CURVES, 48)
    losses = np.where(rng.random(problem.losses.shape) < 0.2, np.nan, problem.losses)
    losses[3], losses[4, 7], losses[5, 1:] = np.nan, np.inf, np.nan
    weights = np.where(rng.random(losses.shape) < 0.1, 0, rng.uniform(0.1, 10, losses.shape)).astype(np.float32)
    assert_agree(*both(compiled, problem, losses), losses, problem.time)
    seen = np.where(weights > 0, losses, np.nan)  # what is left out shows nothing of a curve
    assert_agree(*both(compiled, problem, losses, weights), seen, problem.time)


@pytest.mark.parametrize("shared", [False, True])
def test_sums_over_whitened_losses_are_those_of_the_reference(compiled, shared):
    rng, n, curves = np.random.default_rng(11), 40, 256
    problem = sigmoids(seed=5, num_curves=curves, num_checkpoints=n)
    losses = np.where(rng.random((curves, n)) < 0.1, np.nan, problem.losses)
    losses[: curves // 2] = problem.losses[: curves // 2]
    losses[7, 1:] = np.nan
    family, options = FAMILIES[problem.family](scale=problem.scale), FitOptions(kernel="xla")
    u = family.coordinate(problem.time)
    x = jnp.asarray((u - u[0]) / (u[-1] - u[0]), jnp.float32)
    std, odds = rng.uniform(0.5, 2, n), rng.uniform(1, 9, n)
    assumed = Noise(*(jnp.asarray(a, jnp.float32) for a in (std, odds, (0.5, 0.02, 0.1, 0.05))))
    taken = assumed if shared else assumed_noise("correlated", None, n, jnp.float32)

    @jax.jit
    def solved(losses, weights):
        block = prepare(family, options, x, losses, weights)[0]
        return block, solve(family, options, block)

    block, solution = solved(losses, rng.uniform(0.5, 2, losses.shape))
    found, reference = (measure(family, options_of(kernel), taken, block, solution) for kernel in (compiled, "xla"))
    for name in ("white_rss", "white_gain", "second_rss", "second_gain", "long_run"):
        value = np.asarray(getattr(reference, name))
        assert np.mean(value > 0) > (0.2 if name == "second_gain" else 0.5)
        unit = np.asarray(reference.second_rss) if name == "second_gain" else np.median(value)
        apart = np.abs(getattr(found, name) - value) > 1e-3 * (value + unit)
        # Of a column that depends on the others but for rounding, as that of a steep curve's sharpness, little is left:
        # what a step has to itself beside it is as rough.
        assert np.mean(apart) <= (0.025 if name.startswith("second") else 0), (name, np.flatnonzero(apart))


def test_the_check_of_a_device_sees_no_difference(compiled):
    assert difference(SIGMOID, options_of(compiled)) is None


@pytest.mark.parametrize("family", MAKERS)
def test_float32_where_float64_is_on(compiled, family):
    problem = MAKERS[family](2, NUM_CURVES, 64)
    found = fitted_by(compiled, problem, problem.losses)
    with jax.enable_x64(True):
        again, reference = both(compiled, problem, problem.losses)
        assert_agree(again, reference, problem.losses, problem.time)
    assert again.rss.dtype == np.float32
    apart = np.abs(again.rss - found.rss) > 1e-4 * found.rss  # exponentials, of which no centre is the best, may be
    assert np.mean(apart) <= 0.02


@pytest.mark.usefixtures("optimised")  # bits are compared
def test_no_curve_knows_how_the_others_are_cut(compiled):
    problem = sigmoids(seed=1, num_curves=5000, num_checkpoints=24)  # several parts for the threads to share

    def fitted(losses, **more):
        chosen = options_of(compiled, **more)
        return jax.tree.map(np.asarray, fit(SIGMOID, jnp.asarray(problem.time), losses, options=chosen))

    whole = fitted(problem.losses)
    order = np.random.default_rng(2).permutation(len(problem.losses))
    assert same_bits(jax.tree.map(lambda a: a[order], whole), fitted(problem.losses[order]))
    assert same_bits(jax.tree.map(lambda a: a[:7], whole), fitted(problem.losses[:7]))
    assert same_bits(whole, fitted(problem.losses, block_size=777))


def test_vmap_of_rows_and_of_axes(compiled):
    losses, options = jnp.asarray(noisy().reshape(4, 4, -1)), options_of(compiled)
    axes = jnp.asarray(np.stack([AXIS * (1 + k) ** 0.5 for k in range(4)]), jnp.float32)

    def one(axis, batch):
        return fit(SIGMOID, axis, batch, options=options)

    for mapped, args in ((jax.vmap(one, (None, 0)), (axes[0], losses)), (jax.vmap(one), (axes, losses))):
        together = mapped(*args)
        for k in range(4):
            alone = one(axes[k] if len(args[0].shape) == 2 else axes[0], losses[k])
            assert_same_minimum(jax.tree.map(lambda a, k=k: a[k], together), alone)


def test_vmap_of_no_rows(compiled):
    def one(batch):
        return fit(SIGMOID, AXIS, batch, options=options_of(compiled))

    assert jax.vmap(one)(jnp.zeros((0, 3, len(AXIS)))).rss.shape == (0, 3)
    assert jax.vmap(jax.vmap(one))(jnp.zeros((2, 0, 3, len(AXIS)))).rss.shape == (2, 0, 3)


def test_a_second_derivative_is_the_difference_of_first_ones(compiled):
    row, direction = jnp.asarray(noisy()[5]), jnp.asarray(np.eye(len(AXIS), dtype=np.float32)[9])

    def final_loss(losses):
        return fit(SIGMOID, AXIS, losses, options=options_of(compiled)).params["final_loss"]

    slope = jax.jit(jax.grad(final_loss))
    difference = (slope(row + 0.01 * direction) - slope(row - 0.01 * direction)) / 0.02
    change = jax.jvp(slope, (row,), (direction,))[1]
    np.testing.assert_allclose(change, difference, atol=0.02 * np.abs(difference).max())


@pytest.mark.parametrize(
    ("file", "pattern", "value"),
    [
        ("templates.h", r"kMostRuns = (\S+);", NUM_RUNS),
        ("simd.h", r"kGroup = (\S+);", native_operations.GROUP),
        ("families.h", r"splat\(-30.0f\), splat\((\S+)f\)", 30.0),
        ("noise.h", r"splat\(-0.9f\), splat\((\S+)f\)", 0.9),
    ],
)
def test_constants_that_stand_in_both_languages_agree(file, pattern, value):
    (found,) = re.findall(pattern, (building.SOURCES / file).read_text())
    assert found == str(value)


def test_constants_of_the_method_stand_in_python_alone():
    # Numbers that C++ may have of its own: an exponential's, and what keeps a quotient finite.
    own = {"vector.h": {"2.12194440e-4f"}, "steps.h": {"1e-30f"}}
    for path in building.SOURCES.glob("*.[ch]*"):
        code = re.sub(r"//.*", "", path.read_text())
        assert set(re.findall(r"\b[\d.]+e-?\d+f?", code)) == own.get(path.name, set()), path.name


class Steeper(Sigmoid):
    """Another shape under the same name."""

    def shape(self, x, theta):
        return super().shape(x, theta) ** 2

    def complement(self, x, theta):
        return 1 - self.shape(x, theta)


def test_only_families_that_it_knows_get_it():
    assert chosen_kernel(Steeper(), FitOptions(), jnp.float32) == "xla"
    with pytest.raises(ValueError, match="does not know the family"):
        fit(Steeper(), AXIS, clean(), options=FitOptions(kernel="native"))


def test_only_float32_gets_it():
    assert chosen_kernel(SIGMOID, FitOptions(), jnp.float64) == "xla"
    with pytest.raises(ValueError, match=r"float32.*float64.*kernel='auto'"):
        chosen_kernel(SIGMOID, FitOptions(kernel="native"), jnp.float64)


def test_a_tpu_has_none(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert chosen_kernel(SIGMOID, FitOptions(), jnp.float32) == "xla"
    with pytest.raises(ValueError, match="for CPUs and NVIDIA's GPUs, and the default device is a tpu"):
        chosen_kernel(SIGMOID, FitOptions(kernel="native"), jnp.float32)


def test_only_xlas_kernel_has_tiles_to_fill(monkeypatch):
    monkeypatch.setattr(native, "why_missing", lambda backend: None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    multiples = [row_multiple(SIGMOID, FitOptions(kernel=kernel), jnp.float32, 64) for kernel in ("native", "xla")]
    assert multiples == [256, 65_536]


def test_without_a_compiler_xla_fits(monkeypatch):
    monkeypatch.setattr(native, "why_missing", lambda backend: "no C++ compiler was found; install g++")
    assert chosen_kernel(SIGMOID, FitOptions(), jnp.float32) == "xla"
    with pytest.raises(ValueError, match="got 'native', but no C\\+\\+ compiler was found; install g\\+\\+"):
        chosen_kernel(SIGMOID, FitOptions(kernel="native"), jnp.float32)


@pytest.mark.skipif(CAUSE is not None, reason=f"the native kernel: {CAUSE}")
def test_where_it_can_be_had_it_is_chosen():
    assert chosen_kernel(SIGMOID, FitOptions(), jnp.float32) == "native"
    assert chosen_kernel(SIGMOID, FitOptions(kernel="xla"), jnp.float32) == "xla"
