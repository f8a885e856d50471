"""Generated input for the public functions: a result that is one, or an error of the package's own; nothing in between.

`make fuzz` tries thousands of cases from seeds that it prints; ``TSL_FUZZ_SEED=n TSL_FUZZ=cases`` tries them again.
"""

import random
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr

import tsl_jax as tsl
from tsl_jax.fitting import has_parameters
from tsl_jax.store import validate

pytestmark = pytest.mark.fuzz

SIZES = (0, 1, 3, 5, 8, 8, 8, 24)
DTYPES = ("float16", "float32", "float64", ">f4", "longdouble", "bfloat16", "int32", "uint8", "bool", "complex64")
DTYPES += ("object", "U5", "datetime64[s]")
NAMES = (
    "position",
    "../../x",
    "a/b",
    "",
    "losses",
    "zarr.json",
    "..",
    ".",
    "é\n",
    "step",
    "x" * 300,
    "__a",
    "c",
    3,
    None,
)
LAW = tsl.PowerLaw()


class Draw(random.Random):
    """Random arrays, right and wrong."""

    def __init__(self, seed):
        super().__init__(seed)
        self.rng = np.random.default_rng(seed)

    def spoilt(self, values):
        """Values with something odd about them, more often than not."""
        a, r = np.array(values, np.float64), self.rng
        odd = {
            "gaps": lambda: np.where(r.random(a.shape) < r.random(), np.nan, a),
            "infinite": lambda: np.where(r.random(a.shape) < 0.1, self.choice([np.inf, -np.inf]), a),
            "scaled": lambda: a * self.choice([1e-38, 1e-30, 1e-10, 1e10, 1e30, 1e37, -1, 0]),
            "extremes": lambda: r.choice([0, 1e-30, 1e30, -1e30, 5, np.nan], a.shape),
            "constant": lambda: np.full(a.shape, self.choice([0, 1, 1e30, -3, 1e-40])),
            "decades": lambda: a * 10.0 ** r.uniform(-30, 30, a.shape),
            "far": lambda: a + 1e6,
            "rising": lambda: np.sort(a, axis=-1) if a.ndim else a,
        }
        return odd[self.choice(list(odd))]() if self.random() < 0.6 else a

    def cast(self, values):
        """In another dtype, as a list, or as an array of JAX."""
        if self.random() < 0.5:
            return np.asarray(values, np.float32)
        kind = self.choice(DTYPES)
        if kind == "bfloat16":
            return jnp.asarray(values, jnp.bfloat16)
        with np.errstate(all="ignore"):
            made = np.nan_to_num(values).astype(kind) if kind[0] in "iuM" else np.asarray(values).astype(kind)
        return self.choice([made, made.tolist()])

    def axis(self, size):
        """Values that mostly increase."""
        x, r = np.geomspace(1, 1000, size) if size else np.zeros(0), self.rng
        odd = {
            "falling": lambda: x[::-1],
            "repeated": lambda: np.repeat(x[:1], size),
            "scaled": lambda: x * self.choice([1e-300, 1e-38, 1e-30, 1e30, 1e300]),
            "hole": lambda: np.where(np.arange(size) == size // 2, self.choice([np.nan, np.inf, 0, -1]), x),
            "from 0": lambda: x - 1,
            "far": lambda: x + self.choice([1e8, 2.0**53]),
            "short": lambda: x[:-1],
            "two axes": lambda: x[None],
            "narrow": lambda: np.cumsum(r.random(size) * 1e-7) + 1,
        }
        return odd[self.choice(list(odd))]() if self.random() < 0.5 else x

    def losses(self, *shape):
        """Losses that mostly fall."""
        a = np.sort(self.rng.random(shape) * 5, axis=-1)[..., ::-1]
        return self.cast(self.spoilt(a))


@pytest.fixture
def draw(seed):
    return Draw(seed)


def tried(act, *given):
    """What an act returns; None for an error that the package raised, in its words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of losses that are negative
        try:
            return act()
        except (TypeError, ValueError) as error:
            frame = error.__traceback__
            while frame.tb_next is not None:
                frame = frame.tb_next
            said = str(error)
            assert frame.tb_frame.f_globals["__name__"].startswith("tsl_jax"), (said, given)
            assert ":" in said, said
            return None


def is_right(status, params, stderr, rss, given):
    """Whether usable curves have numbers, and the others none."""
    fitted = np.asarray(has_parameters(np.asarray(status)))
    for name, values in params.items():
        finite = np.isfinite(np.asarray(values, np.float64))
        assert np.array_equal(finite, np.broadcast_to(fitted, finite.shape)), (name, status, values, given)
    for name, values in stderr.items():
        values = np.asarray(values, np.float64)
        assert not np.any(np.isinf(values) | (values < 0)), (name, status, values, given)
    rss = np.asarray(rss, np.float64)
    assert np.all(np.isfinite(rss[fitted]) & (rss[fitted] >= 0)), (status, rss, given)


def test_fit(draw, cases):
    families = [tsl.Sigmoid(), tsl.Sigmoid(scale="linear"), tsl.Hyperbola(), LAW]
    options = [{}, {}, {"huber_threshold": 1.345}, {"min_plateau": None}, {"max_plateau_ratio": 2}, {"kernel": "xla"}]
    for _ in range(cases):
        size = draw.choice(SIZES) if cases > 15 else draw.choice((3, 8))
        shape = draw.choice([(), (0,), (1,), (3,), (2, 2)])
        weights = None
        if draw.random() < 0.3:
            weights = draw.spoilt(draw.rng.random(draw.choice([(*shape, size), (size,), (size + 1,), ()])))
        family = draw.choice(families if cases > 15 else families[-1:])
        chosen = tsl.FitOptions(**draw.choice(options if cases > 15 else options[:1]))
        time, losses = draw.axis(size), draw.losses(*shape, size)
        if draw.random() < 0.1:
            time = draw.cast(time)
        given = family, time, losses, weights, chosen
        found = tried(lambda given=given: tsl.fit(*given[:4], options=given[4]), given)
        if found is not None:
            is_right(found.status, found.params, found.stderr, found.rss, given)
            assert np.all(np.asarray(found.r2)[np.isfinite(found.r2)] < 1.0001), given


def test_least_squares(draw, cases):
    def line(p, x, y):
        return jnp.sum(jnp.asarray(p)) * x - y

    def decay(p, x, y):
        return y - p[0] * jnp.exp(-p[-1] * x)

    def steep(p, x, y):
        return jnp.asarray(p)[0] ** 50 * x - y

    def number(p, x, y):
        return jnp.sum(x)

    def pair(p, x, y):
        return x, y

    for _ in range(cases):
        points, size = draw.choice((1, 3, 20)), draw.choice((0, 1, 2))
        start = draw.spoilt(draw.rng.random(size))
        start = draw.cast(start) if draw.random() < 0.3 else start
        start = start if isinstance(start, np.ndarray | jax.Array) else np.asarray(start)
        bounds = [None, None, (0.0, 1.0), (None, None), (np.zeros(size + 1), np.ones(size + 1)), "a", (["a"], None)]
        bounds += [(np.full(size, 1.0), np.full(size, -1.0)), (np.full(size, np.nan), np.ones(size)), (0.0,)]
        residual = draw.choice([line, line, decay, decay, steep, number, pair, 3])
        x, y = draw.rng.random(points), draw.spoilt(draw.rng.random(points))
        bounded = draw.choice(bounds)
        given = residual, start, x, y, bounded
        found = tried(lambda given=given: tsl.least_squares(*given[:4], bounds=given[4]), given)
        if found is not None:
            fitted = bool(has_parameters(np.asarray(found.status)))
            assert np.all(np.isfinite(found.params)) == fitted, given
            assert not np.any(np.isinf(found.stderr)), given


def test_position_law(draw, cases):
    for _ in range(cases):
        size = draw.choice((0, 1, 3, 5, 20)) if cases > 15 else draw.choice((1, 20))
        position = np.arange(1, size + 1) if draw.random() < 0.7 else draw.axis(size)
        mean = draw.cast(draw.spoilt(1 + 3 / (1 + 0.5 * np.arange(size))))
        stderr = draw.choice([None, draw.spoilt(np.full(size, 0.01)), draw.cast(np.full(size + 1, 0.01)), 0.01])
        given = position, mean, stderr
        found = tried(lambda given=given: tsl.position_law(*given), given)
        if found is not None:
            is_right(found.status, found.params, found.stderr, 0.0 * np.asarray(found.status), given)


def test_time_law(draw, cases):
    for _ in range(cases):
        size = draw.choice((0, 3, 8, 30)) if cases > 15 else 30
        axis = np.arange(1, size + 1) * 10.0 if draw.random() < 0.7 else draw.axis(size)
        loss = draw.cast(draw.spoilt(1 + 5 * (np.arange(size) + 1.0) ** -0.3))
        weights = draw.choice([None, None, draw.cast(draw.spoilt(np.ones(size)))])
        given = axis, loss, weights
        found = tried(lambda given=given: tsl.time_law(given[0], given[1], weights=given[2]), given)
        if found is not None:
            is_right(found.status, found.params, found.stderr, found.rss, given)
            assert not np.isnan(found.exponent_lower), given


def test_laws_do_not_depend_on_the_unit(draw, cases):
    """Losses times a power of two have the same fits, and errors times it."""
    place = np.arange(1.0, 31.0)
    laws = {
        "fit": lambda losses: tsl.fit(LAW, place, losses),
        "position_law": lambda losses: tsl.position_law(place, losses),
        "time_law": lambda losses: tsl.time_law(place, losses),
    }
    for _ in range(cases):
        name, power = draw.choice(list(laws)), draw.choice((-55, -40, 40, 55))
        height, bend, noise = draw.uniform(0.5, 5), draw.uniform(0.3, 1.5), draw.choice((1e-3, 1e-2))
        losses = (1 + height * place**-bend + noise * draw.rng.standard_normal(30)).astype("float32")
        plain, found = laws[name](losses), laws[name](losses * np.float32(2.0**power))
        assert int(found.status) == int(plain.status), (name, power, losses)
        for key, value in plain.params.items():
            unit = 1.0 if key in ("exponent", "rate") else 2.0**power
            pairs = (value, found.params[key]), (plain.stderr[key], found.stderr[key])
            for right, scaled in pairs:
                assert np.isclose(float(scaled) / unit, float(right), rtol=1e-2, equal_nan=True), (
                    name,
                    key,
                    power,
                    losses,
                )


def run_of(draw, size):
    step = np.arange(1, size + 1) * 10 if draw.random() < 0.7 else draw.axis(size)
    run = {"step": step, "loss": draw.cast(draw.spoilt(1 + 5 * (np.arange(size) + 1.0) ** -0.3))}
    return run | ({"learning_rate": draw.spoilt(np.full(size * 20, 1e-3))} if draw.random() < 0.3 else {})


def test_forecast(draw, cases):
    for _ in range(cases):
        size = draw.choice((0, 3, 8, 30)) if cases > 15 else 30
        run = run_of(draw, size)
        at = draw.choice([[], [-5.0], [1e4], [1e12], [np.nan], [size * 10 + 5.0, size * 15], size * 20, "x", None])
        paths = draw.choice([50, 50, 50, 0, 1, -1, 2.5, "a"])
        given = run, at, paths
        rates = run.pop("learning_rate", None)
        found = tried(lambda g=given, r=rates: tsl.forecast(**g[0], at=g[1], paths=g[2], learning_rate=r), given)
        assert found is None or np.all(np.isfinite(found.mean)), given


def test_rank(draw, cases):
    for _ in range(cases):
        runs = [run_of(draw, draw.choice((0, 8, 30)) if cases > 15 else 30), run_of(draw, 30)]
        runs = draw.choice([runs] * 8 + [[], runs[:1], [{}], [None, None], "ab", {"a": runs[0]}, [{"step": [1]}] * 2])
        at = draw.choice([10, 1000, 1000, 1000, 10**9, -1, np.nan, "late"])
        given = runs, at
        found = tried(lambda given=given: tsl.rank(*given, paths=50), given)
        assert found is None or np.all(np.isfinite(found.mean)), given


def test_create_losses(draw, cases):
    for _ in range(cases):
        tokens, columns = draw.choice((0, 1, 5, 50)), draw.choice((0, 1, 4, 9))
        wrong = [(10**15, 10**9), (5,), "abc", None, (5, -1), (2.5, 3), (np.int64(5), 4)]
        losses = draw.losses(tokens, columns) if draw.random() < 0.9 else draw.choice(wrong)
        axis = draw.axis(columns)
        named = {draw.choice(["step", "step", "tokens_seen", *NAMES]): axis}
        checkpoints = named if draw.random() < 0.9 else draw.choice([{}, None, [1, 2], {"step": "abc"}, axis])
        more = {
            "chunk_tokens": [0, -1, 1, 3, 10**12, 1.5, "a"],
            "shard_tokens": [0, -1, 1, 3, 10**12, 7],
            "dtype": ["float16", "int8", "U3", None, object, "float128", "no such"],
            "tokens": [{draw.choice(NAMES): draw.cast(np.arange(tokens + draw.choice((0, 0, 1))))}, [1], None],
            "attributes": [{"a": object()}, {"tsl_kind": "x"}, {1: 2}, {"a": np.nan}, "abc", {"a": np.float32(1)}],
        }
        options = {name: draw.choice(values) for name, values in more.items() if draw.random() < 0.3}
        given, store = (losses, checkpoints, options), zarr.storage.MemoryStore()
        with np.errstate(over="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "overflow")  # into float16, as asked for
            made = tried(
                lambda g=given, store=store: tsl.create_losses(store, g[0], checkpoints=g[1], **g[2]),
                given,
            )
        if made is not None:
            assert not [found for found in validate(store) if found.level == "error"], given
