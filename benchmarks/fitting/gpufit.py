"""Gpufit, or its build for CPUs, through its C interface; the library and its models are the user's own.

Two environment variables say what there is: `TSL_GPUFIT_LIBRARY`, the file of the shared library (``libGpufit.so`` or
``libCpufit.so``), and `TSL_GPUFIT_MODELS`, the numbers of models in it, such as ``sigmoid=17,power_law=18``: none of
the families is among Gpufit's standard models, so a library with them is one that was built with them added. Such a
model has the parameters of `benchmarks models`, in that order, and finds the coordinate x of the checkpoints, float32,
in its user info. ``benchmarks/fitting/build_cpufit.sh`` makes such a library for CPUs.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from .models import MODELS
from .problems import Problem

FILE, NUMBERS = "TSL_GPUFIT_LIBRARY", "TSL_GPUFIT_MODELS"
_LEAST_SQUARES, _MAX_STEPS, _TOLERANCE = 0, 50, 1e-5


class Lacking(Exception):
    """A method cannot run here, or has no such model; the message says which."""


def gpufit(problem: Problem) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Losses (curves, checkpoints) -> named parameters, by Gpufit's Levenberg-Marquardt.

    Raises:
        Lacking: no library is named, it has no such function, or no model for the problem's family.
    """
    fit, last_error = _functions()
    number = _numbers().get(problem.family)
    if number is None:
        raise Lacking(f"no model {problem.family!r} among its standard ones, and none in {NUMBERS}")
    model = MODELS[problem.family]
    x = np.ascontiguousarray(model.coordinate(problem), np.float32)
    start = jax.jit(jax.vmap(lambda losses: model.start(jnp.asarray(x), losses, jnp)))

    def run(losses: np.ndarray) -> dict[str, np.ndarray]:
        losses = np.ascontiguousarray(losses, np.float32)
        first = np.ascontiguousarray(start(losses), np.float32)
        free, found = np.ones(first.shape[1], np.int32), np.empty_like(first)
        state, steps = np.empty(len(losses), np.int32), np.empty(len(losses), np.int32)
        chi_square = np.empty(len(losses), np.float32)
        code = fit(
            *(len(losses), losses.shape[1], _pointer(losses), None, number, _pointer(first)),
            *(_TOLERANCE, _MAX_STEPS, _pointer(free), _LEAST_SQUARES, x.nbytes, _pointer(x)),
            *(_pointer(found), _pointer(state), _pointer(chi_square), _pointer(steps)),
        )
        if code != 0:
            raise RuntimeError(f"{os.environ[FILE]}: {last_error().decode(errors='replace')}")
        return model.named(problem, found.astype(float))

    return run


def gpufit_version() -> str:
    """The library's file name, which is all that it says of its version."""
    return Path(os.environ.get(FILE, "not given")).name


def _functions():
    """The fitting function of the library, with its types, and the one that says what went wrong."""
    path = os.environ.get(FILE)
    if not path:
        raise Lacking(f"no library; {FILE} names its file")
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise Lacking(f"{FILE}: {error}") from error
    for name in ("gpufit", "cpufit"):
        if hasattr(library, name):
            fit, last_error = getattr(library, name), getattr(library, f"{name}_get_last_error")
            break
    else:
        raise Lacking(f"{FILE}: {path} has neither gpufit nor cpufit")
    size, number, real, pointer = ctypes.c_size_t, ctypes.c_int, ctypes.c_float, ctypes.c_void_p
    fit.restype, last_error.restype = number, ctypes.c_char_p
    fit.argtypes = [size, size, pointer, pointer, number, pointer, real, number, pointer, number, size, *[pointer] * 5]
    return fit, last_error


def _numbers() -> dict[str, int]:
    """Numbers of models by family, from the environment."""
    given = os.environ.get(NUMBERS, "")
    try:
        return {name.strip(): int(number) for name, number in (part.split("=") for part in given.split(",") if part)}
    except ValueError:
        raise Lacking(f"{NUMBERS}: got {given!r}, expected such as sigmoid=17,power_law=18") from None


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
