"""The kernel for ARM on a machine of another kind: built by a cross compiler, run by an emulator of the processor."""

import functools
import shutil
import struct
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

COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
#: What XLA calls the types of numbers (xla/ffi/api/c_api.h).
TYPES = {"bool": 1, "int32": 4, "float32": 11, "text": 0}


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    """A program that calls the kernel's handlers as JAX does; what the compiler warns of is an error."""
    if COMPILER is None:
        pytest.skip("no compiler for ARM: install g++-aarch64-linux-gnu")
    program = tmp_path_factory.mktemp("arm") / "replay"
    flags = (*(building.SOURCES / "cpu.flags").read_text().split(), "-O1", "-static", "-Wall", "-Werror")
    sources = (building.SOURCES / building.CPU.source, Path(__file__).parent / "replay.cc")
    building._run([COMPILER], *flags, "-isystem", jax.ffi.include_dir(), *map(str, sources), "-o", str(program))
    return program


def numbers(*values: int) -> bytes:
    return struct.pack(f"{len(values)}q", *values)


def header(shape, dtype) -> bytes:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return numbers(TYPES[np.dtype(dtype).name], len(shape), *shape, size)


def text(value: bytes) -> bytes:
    return numbers(len(value)) + value


def attribute(name: str, value) -> bytes:
    if isinstance(value, str):
        return text(name.encode()) + numbers(TYPES["text"]) + text(value.encode())
    return text(name.encode()) + numbers(TYPES[value.dtype.name]) + text(value.tobytes())


def emulated(program: Path, part: str, results):
    """In place of `jax.ffi.ffi_call`."""

    def call(*arrays, **attributes):
        def run(*arrays):
            given = [np.asarray(array) for array in arrays]
            sent = numbers(len(given)) + b"".join(header(a.shape, a.dtype) + a.tobytes() for a in given)
            sent += numbers(len(results)) + b"".join(header(each.shape, each.dtype) for each in results)
            sent += numbers(len(attributes)) + b"".join(attribute(*pair) for pair in sorted(attributes.items()))
            done = subprocess.run([EMULATOR, program, part], input=sent, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
            found, at = [], 0
            for each in results:
                size = int(np.prod(each.shape))
                found.append(np.frombuffer(done.stdout, each.dtype, size, at).reshape(each.shape))
                at += found[-1].nbytes
            assert at == len(done.stdout)
            return tuple(found)

        return jax.pure_callback(run, tuple(results), *arrays)

    return call


def fitted(kernel, block):
    """Solutions and measures."""
    options = options_of(kernel)
    solution = solve(SIGMOID, options, block)
    noise = assumed_noise("correlated", None, CHECKPOINTS, jnp.float32)
    return [*solution, *measure(SIGMOID, options, noise, block, solution)]


def test_it_fits_as_the_kernel_of_this_machine_does(monkeypatch, replay):
    if EMULATOR is None:
        pytest.skip("built, but there is no emulator of ARM: install qemu-user")
    if cause := native.why_missing():
        missing(f"the native kernel: {cause}")
    losses = np.concatenate([noisy(k) for k in range(2)])
    losses[::3, 5:8] = np.nan
    block = prepare(SIGMOID, options_of("native"), jnp.linspace(0, 1, CHECKPOINTS), jnp.asarray(losses), None)[0]
    expected = fitted("native", block)
    monkeypatch.setattr(jax.ffi, "ffi_call", functools.partial(emulated, replay))
    monkeypatch.setitem(native.TARGETS, "arm", ("solve", "measure"))
    for found, right in zip(fitted("arm", block), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=0.01, atol=1e-3 * np.nanmedian(np.abs(right)))
