"""Planted tokens under noise of every kind: what intervals must hold, and how often noise is called an event."""

from typing import Any, NamedTuple

import numpy as np

import tsl_jax as tsl
from tsl_jax.fitting import Category, degrees_of_freedom, has_parameters

PARAMETERS = ("learning_time", "sharpness", "loss_drop", "final_loss")
#: Those whose logarithm is normal to first order.
_LOGARITHMIC = ("learning_time", "sharpness")


class Kind(NamedTuple):
    """Noise: its correlation between neighbouring checkpoints, the growth of its standard deviation over training, and
    degrees of freedom of Student's distribution (None: Gaussian)."""

    correlation: float = 0.0
    growth: float = 1.0
    freedom: float | None = None


KINDS = {
    "independent": Kind(),
    "Student's t3": Kind(freedom=3),
    "AR(1) 0.3": Kind(0.3),
    "AR(1) 0.5": Kind(0.5),
    "AR(1) 0.7": Kind(0.7),
    "AR(1) 0.9": Kind(0.9),
    "sd falls 4-fold": Kind(growth=0.25),
    "sd rises 4-fold": Kind(growth=4.0),
}


class Setting(NamedTuple):
    """Checkpoints evenly spaced in the fitted coordinate: geometric on a log scale, even on a linear one."""

    checkpoints: int
    scale: str = "log"

    @property
    def family(self) -> tsl.Sigmoid:
        """What is fitted."""
        return tsl.Sigmoid(scale=self.scale)  # type: ignore[arg-type]

    @property
    def time(self) -> Any:
        """(checkpoints,) axis, in NumPy."""
        return (np.geomspace if self.scale == "log" else np.linspace)(10.0, 1e5, self.checkpoints)

    def coordinate(self, time):
        """u."""
        return np.log(time) if self.scale == "log" else np.asarray(time)


def draw_noise(rng: np.random.Generator, curves: int, checkpoints: int, kind: Kind) -> np.ndarray:
    """(curves, checkpoints) noise of mean variance 1."""
    size = (curves, checkpoints)
    noise = rng.standard_normal(size) if kind.freedom is None else rng.standard_t(kind.freedom, size)
    if kind.freedom is not None:
        noise /= np.sqrt(kind.freedom / (kind.freedom - 2))
    for i in range(1, checkpoints):
        noise[:, i] = kind.correlation * noise[:, i - 1] + np.sqrt(1 - kind.correlation**2) * noise[:, i]
    std = kind.growth ** np.linspace(0, 1, checkpoints)
    return noise * std / np.sqrt(np.mean(std**2))


def plant_second(rng: np.random.Generator, setting: Setting, curves: int, kind: Kind) -> np.ndarray:
    """(curves, checkpoints) losses of tokens as those of `plant`, with a second event, at least a quarter of the window
    from the first one, of 0.5 to 2 nat, and with noise of 0.1 to 0.3 nat."""
    u = setting.coordinate(setting.time)
    unit = u[-1] - u[0]
    first = rng.uniform(0.1, 0.9, curves)
    room = np.maximum(first - 0.35, 0) + np.maximum(0.65 - first, 0)
    place = rng.uniform(0, 1, curves) * room
    below = np.maximum(first - 0.35, 0)
    second = np.where(place < below, 0.1 + place, first + 0.25 + place - below)
    losses = rng.uniform(1, 3, curves)[:, None] + np.zeros(setting.checkpoints)
    for at, drop in ((first, rng.uniform(1, 6, curves)), (second, rng.uniform(0.5, 2, curves))):
        sharpness = 6 / (unit * np.exp(rng.uniform(np.log(0.08), np.log(0.5), curves)))
        away = sharpness[:, None] * (u - (u[0] + unit * at)[:, None])
        losses = losses + drop[:, None] / (1 + np.exp(np.clip(away, -80, 80)))
    noise = rng.uniform(0.1, 0.3, curves)[:, None] * draw_noise(rng, curves, setting.checkpoints, kind)
    return (losses + noise).astype(np.float32)


def plant(
    rng: np.random.Generator, setting: Setting, curves: int, kind: Kind, window: tuple[float, float] = (0.1, 0.9)
):
    """Tokens with events within a part of the window: drops of 1 to 6 nat, from 5% to 95% within 8 to 50% of the
    window, noise of standard deviation 0.1 to 0.5 nat.

    Returns:
        True parameters by name, (curves,), and losses (curves, checkpoints), float32.
    """
    u = setting.coordinate(setting.time)
    unit = u[-1] - u[0]
    u_learn = u[0] + unit * rng.uniform(*window, curves)
    sharpness = 6 / (unit * np.exp(rng.uniform(np.log(0.08), np.log(0.5), curves)))
    truth = {
        "learning_time": np.exp(u_learn) if setting.scale == "log" else u_learn,
        "sharpness": sharpness,
        "loss_drop": rng.uniform(1, 6, curves),
        "final_loss": rng.uniform(1, 3, curves),
    }
    clean = np.asarray(setting.family.curve(setting.time, {name: value[:, None] for name, value in truth.items()}))
    noise = rng.uniform(0.1, 0.5, curves)[:, None] * draw_noise(rng, curves, setting.checkpoints, kind)
    return truth, (clean + noise).astype(np.float32)


def deviations(fit: tsl.Fit, truth: dict[str, np.ndarray], scale: str) -> dict[str, np.ndarray]:
    """(curves,) fitted minus true parameters in units of their errors, where these are normal to first order."""
    found: dict[str, Any] = {}
    for name, value in truth.items():
        got, error = (np.asarray(values[name], np.float64) for values in (fit.params, fit.stderr))
        if name in _LOGARITHMIC and (scale == "log" or name == "sharpness"):
            found[name] = (np.log(got) - np.log(value)) / (error / got)
        else:
            found[name] = (got - value) / error
    return found


def coverage(fit: tsl.Fit, truth: dict[str, np.ndarray], scale: str, level: float = 0.9) -> dict[str, float]:
    """Share of LEARNED tokens whose interval holds the truth, by parameter, of those with an error."""
    from scipy.stats import t

    freedom = np.asarray(degrees_of_freedom(fit.noise_correlation, fit.num_points))
    reach = t.ppf(0.5 + level / 2, freedom)
    counted = has_parameters(np.asarray(fit.status)) & (np.asarray(fit.category) == Category.LEARNED)
    shares = {}
    for name, away in deviations(fit, truth, scale).items():
        known = counted & np.isfinite(away)
        shares[name] = float(np.mean(np.abs(away[known]) <= reach[known])) if known.any() else float("nan")
    return shares


def judge(setting: Setting, kind: Kind, curves: int, seed: int, shared: bool) -> dict[str, Any]:
    """Coverage of planted tokens, the share of them that are found, and of noise that is called an event; how often one
    event is taken for two, and two are seen.

    Args:
        setting: the checkpoints.
        kind: of the noise.
        curves: planted tokens, and curves of noise alone.
        seed: of the random numbers.
        shared: whether a noise model is estimated on the planted tokens; else each curve says its own.
    """
    rng = np.random.default_rng(seed)
    options = tsl.FitOptions(min_plateau=None)
    losses: Any  # NumPy, which JAX takes
    truth, losses = plant(rng, setting, curves, kind)
    model = tsl.noise_model(setting.family, setting.time, losses, options=options) if shared else None
    fit = tsl.fit(setting.family, setting.time, losses, options=options, noise=model)
    constant: Any = (3 + 0.2 * draw_noise(rng, curves, setting.checkpoints, kind)).astype(np.float32)
    of_noise = tsl.fit(setting.family, setting.time, constant, options=options, noise=model)
    twofold: Any = plant_second(rng, setting, curves, kind)
    of_two = tsl.fit(setting.family, setting.time, twofold, options=options, noise=model)
    events = (Category.LEARNED, Category.EARLY, Category.LATE)
    return {
        "coverage": coverage(fit, truth, setting.scale),
        "found": float(np.mean(np.asarray(fit.category) == Category.LEARNED)),
        "false_events": float(np.mean(np.isin(np.asarray(of_noise.category), events))),
        "false_second_events": float(np.mean(np.asarray(fit.second_event) > 0.5)),
        "second_found": float(np.mean(np.asarray(of_two.second_event) > 0.5)),
        "median_correlation": float(np.nanmedian(np.asarray(fit.noise_correlation))),
    }
