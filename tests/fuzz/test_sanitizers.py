"""The kernel in C++ under the address and the undefined-behaviour sanitizers: no read or write outside, no overflow.

The short part calls it on input of every kind, the long one runs its tests as well.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native_inputs import SANITIZERS

from tests.needed import missing
from tsl_jax.fitting.native import building

pytestmark = pytest.mark.fuzz
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def environment():
    """That of processes into which the sanitizers' library is loaded first, as they are not the program's own."""
    compiler = building.compiler_of(building.CPU)
    if compiler is None:
        missing(building.no_compiler(building.CPU))
    # With the one of C++ beside it, where exceptions come from.
    found = [building._run(compiler, f"-print-file-name={name}").strip() for name in ("libasan.so", "libstdc++.so")]
    if not all(Path(path).is_absolute() for path in found):
        missing("GCC's libasan.so, which the sanitizers need")
    settings = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}  # Python leaks at its end
    return os.environ | settings | {"LD_PRELOAD": " ".join(found), "JAX_PLATFORMS": "cpu"}


def tried(environment, *command):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
    )


def test_input_of_every_kind(environment, seed, cases):
    done = tried(environment, HERE / "native_inputs.py", seed, cases)
    assert done.returncode == 0, f"TSL_FUZZ_SEED={seed}\n{done.stdout[-300:]}\n{done.stderr[:6000]}"


def long_part(cases):
    if cases < 100:
        pytest.skip("only in make fuzz")


def test_a_read_outside_is_seen(environment, cases, tmp_path):
    long_part(cases)
    sources = Path(shutil.copytree(building.SOURCES, tmp_path / "native"))
    header = sources / "projection.h"
    text = header.read_text()
    room = "return (2 + kKept) * n;"
    assert text.count(room) == 1
    header.write_text(text.replace(room, "return (2 + kKept) * n - 1;"))
    done = tried(environment, HERE / "native_inputs.py", 1, 20, sources)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_its_tests(environment, cases, tmp_path):
    long_part(cases)
    compiler = tmp_path / "sanitizing-c++"  # what it says comes last; and it does without the library itself
    words = *(building.compiler_of(building.CPU) or []), '"$@"', "-O1", *SANITIZERS
    compiler.write_text(f"#!/bin/sh\nunset LD_PRELOAD\nexec {' '.join(words)}\n")
    compiler.chmod(0o700)
    given = {"CXX": str(compiler), "XDG_CACHE_HOME": str(tmp_path)}
    tests = ("tests/fitting/native/test_native_kernel.py", "tests/fitting/native/test_calls.py", "-k", "not emulated")
    patient = ("--timeout", 3000, "-o", "faulthandler_timeout=3100")
    done = tried(environment | given, "-m", "pytest", "-q", "-x", "-n", 0, *patient, *tests)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert len(list(tmp_path.rglob("*.so"))) == 1  # which they had
