"""The kernel in C++ for each width of vectors: built for all, run where the processor can, with the same fits."""

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import CHECKPOINTS, SIGMOID, noisy, options_of
from tests.needed import missing
from tsl_jax.fitting import native
from tsl_jax.fitting.measures import measure
from tsl_jax.fitting.native import building
from tsl_jax.fitting.noise import assumed_noise
from tsl_jax.fitting.preparation import prepare
from tsl_jax.fitting.solution import solve

COMPILER = building.compiler_of(building.CPU)
#: Flags of the compiler, and what /proc/cpuinfo calls the instructions.
LEVELS = {
    "sse2": (["-march=x86-64"], {"sse2"}),
    "avx2": (["-march=x86-64", "-mavx2", "-mfma"], {"avx2", "fma"}),
    "avx512": (["-march=x86-64", "-mavx512f", "-mavx512dq", "-mavx512vl"], {"avx512f", "avx512dq", "avx512vl"}),
}


@pytest.fixture(scope="module")
def block():
    """Noisy sigmoids, of which some have gaps."""
    losses = np.concatenate([noisy(k) for k in range(4)])
    losses[::3, 5:8] = np.nan
    return prepare(SIGMOID, options_of("native"), jnp.linspace(0, 1, CHECKPOINTS), jnp.asarray(losses), None)[0]


@pytest.fixture(scope="module")
def expected(block):
    """What the kernel for this processor gives."""
    if cause := native.why_missing():
        missing(f"the native kernel: {cause}")
    return fitted("native", block)


def fitted(kernel, block):
    """Solutions and measures."""
    options = options_of(kernel)
    solution = solve(SIGMOID, options, block)
    noise = assumed_noise("correlated", None, CHECKPOINTS, jnp.float32)
    return [*solution, *measure(SIGMOID, options, noise, block, solution)]


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another family of processors")
@pytest.mark.parametrize("level", LEVELS)
def test_vectors_of_every_width(monkeypatch, tmp_path, block, expected, level):
    march, needed = LEVELS[level]
    flags = [flag for flag in building.CPU.flags if not flag.startswith(("-O", "-march"))]
    source, library = building.SOURCES / building.CPU.source, tmp_path / "kernel.so"
    given = (*flags, "-O1", "-Wall", "-Werror", *march, "-isystem", jax.ffi.include_dir(), str(source))
    building._run(COMPILER or [], *given, "-o", str(library))
    flagged = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")]
    if not flagged or not needed <= set(flagged[0].split()):
        pytest.skip(f"built, but this processor has no {level}")
    loaded, names = ctypes.CDLL(str(library)), (f"{level}_solve", f"{level}_measure")
    for name, part in zip(names, (native.SOLVE, native.MEASURE), strict=True):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, part)), platform="cpu")
    monkeypatch.setitem(native.TARGETS, level, names)
    for found, right in zip(fitted(level, block), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=0.01, atol=1e-3 * np.nanmedian(np.abs(right)))


def test_vectors_of_arm():
    given = [*building.CPU.flags[:1], "-Wall", "-Werror", "-fsyntax-only", "-isystem", jax.ffi.include_dir()]
    if found := shutil.which("aarch64-linux-gnu-g++"):
        compiler = [found]
    elif found := shutil.which("clang++"):
        compiler = [found, "--target=aarch64-linux-gnu"]
    else:
        pytest.skip("no compiler for ARM: install g++-aarch64-linux-gnu")
    if subprocess.run(
        [*compiler, "-xc++", "-E", "-"], input="#include <vector>", text=True, capture_output=True
    ).returncode:
        pytest.skip(f"{found} lacks the headers of ARM: install g++-aarch64-linux-gnu")
    building._run(compiler, *given, str(building.SOURCES / building.CPU.source))
