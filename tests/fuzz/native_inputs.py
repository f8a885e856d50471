"""``python native_inputs.py SEED CASES``: calls of the kernel in C++, built with sanitizers, on input of every kind.

Run by test_sanitizers.py, in a process that has the sanitizers' library. What is wrong ends the process.
"""

import ctypes
import os
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from tsl_jax import FitOptions
from tsl_jax.fitting.measures import _method as measure_method
from tsl_jax.fitting.native import MEASURE, SOLVE, building
from tsl_jax.fitting.native.call import _method

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SPECIAL = np.array(
    [0, -0.0, 1, -1, 1e-45, -1e-40, 1.2e-38, 1e-20, 1e20, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan], np.float32
)
THETAS = {"sigmoid": 2, "hyperbola": 1, "power_law": 1}


def load(sources: Path = building.SOURCES) -> None:
    """Build what lies in a folder with sanitizers, and make it known to JAX."""
    tools = building.CPU
    flags = [flag for flag in tools.flags if not flag.startswith("-O")]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "sanitized.so"
        given = (*flags, "-O0", *SANITIZERS, "-isystem", jax.ffi.include_dir(), str(sources / tools.source))
        building._run(building.compiler_of(tools), *given, "-o", str(library))
        loaded = ctypes.CDLL(str(library))
    for name in (SOLVE, MEASURE):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")


def any_values(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Float32 numbers: plain ones, of one magnitude, of all magnitudes, with special ones among them, or only those."""
    plain = rng.standard_normal(shape)
    kind = rng.integers(5)
    if kind == 1:
        plain = plain * 10.0 ** rng.integers(-44, 38)
    elif kind == 2:
        plain = plain * 10.0 ** rng.integers(-44, 38, shape)
    elif kind > 2:
        special = rng.random(shape) < (0.1 if kind == 3 else 1)
        plain = np.where(special, rng.choice(SPECIAL, shape), plain)
    with np.errstate(over="ignore"):
        return plain.astype(np.float32)


def sizes(rng: np.random.Generator) -> tuple[int, int, int]:
    """Curves, checkpoints and templates: often about the sizes of vectors, groups and runs, sometimes many."""
    curves, n, templates = (
        int(rng.choice(few)) for few in ((0, 1, 2, 15, 17, 33, 70), (1, 2, 3, 4, 5, 15, 16, 17, 31), (1, 3, 16, 17, 65))
    )
    more = rng.integers(8)
    return (
        (2100, n, templates)
        if more == 0
        else (curves, 1024, templates)
        if more == 1
        else (curves, n, 700)
        if more == 2
        else (curves, n, templates)
    )


def solve(rng: np.random.Generator, family: str) -> None:
    """One call that fits."""
    curves, n, templates = sizes(rng)
    theta, size = THETAS[family], 2 + THETAS[family]
    f32 = [
        any_values(rng, *shape) for shape in ((n,), (curves, n), (curves, n), (curves,), (curves,), (theta,), (theta,))
    ]
    if rng.random() < 0.5:  # as they come
        f32[0], f32[2] = np.linspace(0, 1, n, dtype=np.float32), np.ones_like(f32[2])
        f32[3:] = [np.zeros_like(f32[3]), np.full_like(f32[4], 1e3), np.full_like(f32[5], -1), np.full_like(f32[6], 2)]
    options = FitOptions(starts=int(rng.integers(1, 17)), max_steps=int(rng.integers(1, 40)))
    attributes = dict(_method(options, 2.0**-23)) | {"family": family, "runs": np.int32(rng.integers(1, 17))}
    results = [((size, curves), np.float32), ((size, curves), bool), ((curves,), bool), ((curves,), np.int32)]
    call(SOLVE, results, [*f32, any_values(rng, templates, theta), any_values(rng, templates, n)], attributes)


def measure(rng: np.random.Generator, family: str) -> None:
    """One call that measures."""
    curves, n, _ = sizes(rng)
    size = 2 + THETAS[family]
    shapes = ((n,), (curves, n), (curves, n), (size, curves), None, (n,), (n,), (4,))
    arrays = [rng.random((size, curves)) < 0.2 if shape is None else any_values(rng, *shape) for shape in shapes]
    results = [((size, size, curves), np.float32)] * 2 + [((curves,), np.float32)] * 10
    call(MEASURE, results, arrays, measure_method() | {"family": family})


def call(target: str, results, arrays, attributes) -> None:
    """Call a part of the kernel with arrays of NumPy."""
    shapes = [jax.ShapeDtypeStruct(*result) for result in results]
    jax.block_until_ready(jax.ffi.ffi_call(target, shapes)(*arrays, **attributes))


def main(seed: int, cases: int, sources: str = str(building.SOURCES)) -> None:
    """Try many cases."""
    os.environ.pop("LD_PRELOAD", None)  # not for the compiler
    load(Path(sources))
    for case in range(cases):
        rng = np.random.default_rng([seed, case])
        family = str(rng.choice(list(THETAS)))
        print(f"case {case}: {family}", flush=True)
        solve(rng, family)
        measure(rng, family)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
