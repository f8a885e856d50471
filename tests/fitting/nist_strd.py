"""NIST StRD nonlinear regression: all 27 problems, their data, both starting points and certified values.

Source: National Institute of Standards and Technology, Statistical Reference Datasets, nonlinear regression,
https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml (a work of the U.S. government, in the public domain).
Certified are 11 digits of the parameters, their standard deviations and the residual sum of squares.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """``response ~ model(b, x)``; ``x`` is (m,), or (2, m) for Nelson."""

    model: Callable
    starts: np.ndarray
    certified: np.ndarray
    stderr: np.ndarray
    rss: float
    x: np.ndarray
    y: np.ndarray


def _saturation(b, x):
    return b[0] * (1 - jnp.exp(-b[1] * x))


def _chwirut(b, x):
    return jnp.exp(-b[0] * x) / (b[1] + b[2] * x)


def _three_exponentials(b, x):
    return b[0] * jnp.exp(-b[1] * x) + b[2] * jnp.exp(-b[3] * x) + b[4] * jnp.exp(-b[5] * x)


def _two_peaks(b, x):
    first, second = b[2] * jnp.exp(-(((x - b[3]) / b[4]) ** 2)), b[5] * jnp.exp(-(((x - b[6]) / b[7]) ** 2))
    return b[0] * jnp.exp(-b[1] * x) + first + second


def _power(b, x):
    return b[0] * x ** b[1]


def _misra1b(b, x):
    return b[0] * (1 - (1 + b[1] * x / 2) ** -2)


def _misra1c(b, x):
    return b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5)


def _misra1d(b, x):
    return b[0] * b[1] * x / (1 + b[1] * x)


def _rational_2(b, x):
    return (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2)


def _rational_3(b, x):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _nelson(b, x):
    return b[0] - b[1] * x[0] * jnp.exp(-b[2] * x[1])


def _two_exponentials(b, x):
    return b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4])


def _roszman(b, x):
    return b[0] - b[1] * x - jnp.arctan(b[2] / (x - b[3])) / jnp.pi


def _enso(b, x):
    def wave(cosine, sine, period):
        return cosine * jnp.cos(2 * jnp.pi * x / period) + sine * jnp.sin(2 * jnp.pi * x / period)

    return b[0] + wave(b[1], b[2], 12) + wave(b[4], b[5], b[3]) + wave(b[7], b[8], b[6])


def _mgh09(b, x):
    return b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3])


def _mgh10(b, x):
    return b[0] * jnp.exp(b[1] / (x + b[2]))


def _rat42(b, x):
    return b[0] / (1 + jnp.exp(b[1] - b[2] * x))


def _rat43(b, x):
    return b[0] / (1 + jnp.exp(b[1] - b[2] * x)) ** (1 / b[3])


def _eckerle(b, x):
    return b[0] / b[1] * jnp.exp(-0.5 * ((x - b[2]) / b[1]) ** 2)


def _bennett(b, x):
    return b[0] * (b[1] + x) ** (-1 / b[2])


#: By NIST's name, in NIST's order of difficulty.
_MODELS = {
    "Misra1a": _saturation,
    "Chwirut2": _chwirut,
    "Chwirut1": _chwirut,
    "Lanczos3": _three_exponentials,
    "Gauss1": _two_peaks,
    "Gauss2": _two_peaks,
    "DanWood": _power,
    "Misra1b": _misra1b,
    "Kirby2": _rational_2,
    "Hahn1": _rational_3,
    "Nelson": _nelson,
    "MGH17": _two_exponentials,
    "Lanczos1": _three_exponentials,
    "Lanczos2": _three_exponentials,
    "Gauss3": _two_peaks,
    "Misra1c": _misra1c,
    "Misra1d": _misra1d,
    "Roszman1": _roszman,
    "ENSO": _enso,
    "MGH09": _mgh09,
    "Thurber": _rational_3,
    "BoxBOD": _saturation,
    "Rat42": _rat42,
    "MGH10": _mgh10,
    "Eckerle4": _eckerle,
    "Rat43": _rat43,
    "Bennett5": _bennett,
}


def _problem(model, rss, parameters, x, y):
    """``parameters``: for each start 1, start 2, certified value, certified standard deviation."""
    start_1, start_2, certified, stderr = np.array(parameters, float).T
    return Problem(model, np.stack([start_1, start_2]), certified, stderr, rss, np.array(x, float), np.array(y, float))


_DATA = json.loads(Path(__file__).with_suffix(".json").read_text())
PROBLEMS = {name: _problem(model, **_DATA[name]) for name, model in _MODELS.items()}
