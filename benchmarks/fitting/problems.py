"""The one table of problems, shared by tests and benchmarks: curves with planted truth."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.special import expit

Spacing = Literal["even", "geometric"]
Scale = Literal["linear", "log"]

#: Noise levels of the quality table, as a fraction of the size of the drop.
NOISE_LEVELS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
#: Checkpoint counts of the quality table.
CHECKPOINT_COUNTS = (16, 64, 128, 512)
SCALES: tuple[Scale, ...] = ("log", "linear")
SPACINGS: tuple[Spacing, ...] = ("geometric", "even")

FIRST_STEP, LAST_STEP = 100.0, 100_000.0
#: Events lie from a fifth of the window before the first checkpoint to a fifth past the last.
EVENT_RANGE = (-0.2, 1.2)
#: Sharpness in units of 1 / (width of the window): three decades.
SHARPNESS_RANGE = (1.0, 1000.0)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Curves to fit and the truth they were made from.

    Attributes:
        name: what is fitted, in a few words.
        family: name of the curve family, as in `tsl_jax.curves.FAMILIES`.
        scale: the fitted coordinate u: ``"linear"`` (u = a) or ``"log"`` (u = ln a).
        time: (checkpoints,) axis values, float64.
        losses: (curves, checkpoints) planted curve plus noise, in the precision asked for.
        truth: parameters by name, each (curves,), float64.
        noise: (curves,) standard deviation of the noise, nat.
    """

    name: str
    family: str
    scale: Scale
    time: NDArray
    losses: NDArray
    truth: dict[str, NDArray]
    noise: NDArray

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def u(self) -> NDArray:
        """(checkpoints,) the fitted coordinate."""
        return np.log(self.time) if self.scale == "log" else self.time

    @property
    def x(self) -> NDArray:
        """(checkpoints,) the coordinate in units of the window: 0 at the first checkpoint, 1 at the last."""
        return (self.u - self.u[0]) / (self.u[-1] - self.u[0])

    def __getitem__(self, curves) -> "Problem":
        """The same problem with some of the curves."""
        return dataclasses.replace(
            self,
            losses=self.losses[curves],
            truth={name: value[curves] for name, value in self.truth.items()},
            noise=self.noise[curves],
        )


def checkpoints(num: int, spacing: Spacing) -> NDArray:
    """(num,) steps: every `LAST_STEP` / num steps, or in geometric progression from `FIRST_STEP`."""
    if spacing == "even":
        return np.linspace(LAST_STEP / num, LAST_STEP, num)
    return np.geomspace(FIRST_STEP, LAST_STEP, num)


def sigmoid(u, u_learn, sharpness, loss_drop, final_loss):
    """``final_loss + loss_drop · σ(-sharpness · (u - u_learn))``, in SciPy: independent of `tsl_jax`."""
    return final_loss + loss_drop * expit(-sharpness * (u - u_learn))


def sigmoids(
    seed: int,
    num_curves: int,
    num_checkpoints: int = 64,
    spacing: Spacing = "geometric",
    noise: float | tuple[float, float] = (0.01, 1.0),
    *,
    scale: Scale = "log",
    event: tuple[float, float] = EVENT_RANGE,
    sharpness: tuple[float, float] = SHARPNESS_RANGE,
    plateau: tuple[float, float] = (0.0, 3.0),
    dtype: DTypeLike = np.float32,
) -> Problem:
    """Noisy sigmoids over wide ranges, both signs of the drop, with plateaus that a cross-entropy can have.

    Half of the events are uniform over the window, half uniform over the index of the checkpoints (these
    differ where checkpoints are uneven). Sharpness is log-uniform, so transitions range from wider than the
    window to far narrower than one interval. A quarter of the curves rise; one in eight has its lower plateau
    at the least allowed.

    Args:
        seed: of the random numbers.
        num_curves: curves.
        num_checkpoints: checkpoints of each.
        spacing: of the checkpoints in steps.
        noise: standard deviation as a fraction of the size of the drop, or the range of a log-uniform one.
        scale: the coordinate in which the curves are sigmoids.
        event: range of u_learn in units of the window.
        sharpness: range of the sharpness in 1/window.
        plateau: range of the lower plateau, nat.
        dtype: of the losses.

    Returns:
        The problem; its truth has the names of the sigmoid's parameters.
    """
    rng = np.random.default_rng(seed)
    time = checkpoints(num_checkpoints, spacing)
    u = np.log(time) if scale == "log" else time
    unit = u[-1] - u[0]
    by_window = rng.uniform(*event, num_curves)
    position = rng.uniform(*event, num_curves)
    by_index = np.interp(position, np.linspace(0, 1, num_checkpoints), (u - u[0]) / unit)
    by_index += np.minimum(position, 0) + np.maximum(position - 1, 0)
    u_learn = u[0] + unit * np.where(rng.random(num_curves) < 0.5, by_window, by_index)
    slope = _log_uniform(rng, sharpness, num_curves) / unit
    drop = _log_uniform(rng, (0.3, 8.0), num_curves)
    lower = np.where(rng.random(num_curves) < 1 / 8, plateau[0], rng.uniform(*plateau, num_curves))
    rises = rng.random(num_curves) < 0.25
    level = _log_uniform(rng, noise, num_curves) if isinstance(noise, tuple) else np.full(num_curves, noise)
    truth = {
        "learning_time": np.exp(u_learn) if scale == "log" else u_learn,
        "sharpness": slope,
        "loss_drop": np.where(rises, -drop, drop),
        "final_loss": lower + np.where(rises, drop, 0.0),
    }
    columns = (column[:, None] for column in (u_learn, slope, truth["loss_drop"], truth["final_loss"]))
    losses = sigmoid(u, *columns)
    losses = losses + (level * drop)[:, None] * rng.standard_normal(losses.shape)
    name = f"sigmoids, {num_checkpoints} {spacing} checkpoints, {scale} scale"
    return Problem(name, "sigmoid", scale, time, losses.astype(dtype), truth, level * drop)


def hyperbolas(
    seed: int, num_curves: int, num_positions: int = 256, noise: float = 0.01, dtype: DTypeLike = np.float32
) -> Problem:
    """Loss by position, ``amplitude / (1 + rate·i) + floor``; noise (nat) is absolute."""
    rng = np.random.default_rng(seed)
    position = np.arange(1.0, num_positions + 1)
    truth = {
        "amplitude": rng.uniform(0.5, 5, num_curves),
        "rate": _log_uniform(rng, (0.01, 1.0), num_curves),
        "floor": rng.uniform(1, 4, num_curves),
    }
    amplitude, rate, floor = (value[:, None] for value in truth.values())
    losses = amplitude / (1 + rate * position) + floor
    losses = losses + noise * rng.standard_normal(losses.shape)
    name = f"hyperbolas, {num_positions} positions"
    return Problem(name, "hyperbola", "linear", position, losses.astype(dtype), truth, np.full(num_curves, noise))


def power_laws(
    seed: int, num_curves: int, num_checkpoints: int = 64, noise: float = 0.01, dtype: DTypeLike = np.float32
) -> Problem:
    """Mean loss over training, ``coefficient·a^(-exponent) + floor``; noise (nat) is absolute."""
    rng = np.random.default_rng(seed)
    time = checkpoints(num_checkpoints, "geometric")
    exponent = rng.uniform(0.1, 1.0, num_curves)
    truth = {
        "coefficient": rng.uniform(1, 7, num_curves) * FIRST_STEP**exponent,
        "exponent": exponent,
        "floor": rng.uniform(0.5, 4, num_curves),
    }
    losses = truth["coefficient"][:, None] * time ** -exponent[:, None] + truth["floor"][:, None]
    losses = losses + noise * rng.standard_normal(losses.shape)
    name = f"power laws, {num_checkpoints} checkpoints"
    return Problem(name, "power_law", "log", time, losses.astype(dtype), truth, np.full(num_curves, noise))


class Cell(NamedTuple):
    """One cell of the quality table."""

    scale: Scale
    spacing: Spacing
    checkpoints: int
    noise: float

    def problem(self, num_curves: int, dtype: DTypeLike = np.float32) -> Problem:
        """The cell's problem; its seed follows from the cell."""
        columns = (SPACINGS.index(self.spacing), NOISE_LEVELS.index(self.noise), SCALES.index(self.scale))
        seed = 1000 * self.checkpoints + int(np.dot(columns, (100, 10, 1)))
        return sigmoids(seed, num_curves, self.checkpoints, self.spacing, self.noise, scale=self.scale, dtype=dtype)


def quality_rows(scales: Sequence[Scale] = SCALES) -> Iterator[list[Cell]]:
    """The quality table, row by row; the cells of a row differ in noise and share their checkpoints."""
    for scale in scales:
        for spacing in SPACINGS:
            for num_checkpoints in CHECKPOINT_COUNTS:
                yield [Cell(scale, spacing, num_checkpoints, noise) for noise in NOISE_LEVELS]


def join(problems: Sequence[Problem]) -> Problem:
    """The curves of problems that share their checkpoints, as one problem."""
    return dataclasses.replace(
        problems[0],
        losses=np.concatenate([problem.losses for problem in problems]),
        truth={name: np.concatenate([problem.truth[name] for problem in problems]) for name in problems[0].truth},
        noise=np.concatenate([problem.noise for problem in problems]),
    )


def identifiable(seed: int, num_curves: int) -> Problem:
    """Sigmoids whose four parameters the data determine well: event and both plateaus well inside."""
    ranges = {"event": (0.3, 0.7), "sharpness": (12, 40), "plateau": (1.0, 3.0)}
    return sigmoids(seed, num_curves, 128, "geometric", (0.01, 0.05), **ranges)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float], num: int) -> NDArray:
    return np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), num))
