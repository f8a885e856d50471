"""Building the kernel and making it known to JAX."""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import jax

from ..cache import compiled_folder

#: Names under which JAX knows the kernel's two parts; see `tsl_jax.lm.native_kernel` for what they take and return.
SOLVE, MEASURE = "tsl_jax_solve", "tsl_jax_measure"

_SOURCES = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_LOCK = threading.Lock()


def why_missing() -> str | None:
    """Why there is no kernel on this machine; None where there is one, which JAX then knows.

    The first time it is built, which takes some 10 seconds, into the user's cache folder. It is built again for another
    compiler, jaxlib or processor.
    """
    with _LOCK:  # one thread builds, others wait for it
        return _load()


@functools.cache
def _load() -> str | None:
    compiler = _compiler()
    if compiler is None:
        return "no C++ compiler was found; install g++ or clang++, or name one in CXX"
    try:
        library = _built(compiler)
    except subprocess.CalledProcessError as error:
        return f"{compiler} could not build it: {error.stderr.strip()[-500:]}"
    except OSError as error:
        return f"it could not be built or loaded: {error}"
    for name in (SOLVE, MEASURE):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    return None


def _compiler() -> str | None:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def _built(compiler: str) -> ctypes.CDLL:
    """The library, from the cache folder or else built into it; without such a folder only for this process."""
    folder = compiled_folder("kernel")
    if folder is None:
        with tempfile.TemporaryDirectory() as own:
            return _build(compiler, Path(own, "kernel.so"))
    path = folder / f"{_version(compiler)}.so"
    if path.exists():
        with contextlib.suppress(OSError):  # a file that was cut short
            return ctypes.CDLL(str(path))
    return _build(compiler, path)


def _build(compiler: str, path: Path) -> ctypes.CDLL:
    """Build under another name and load; the name is right only once the file is whole."""
    handle, new = tempfile.mkstemp(dir=path.parent, suffix=".so")
    os.close(handle)
    try:
        source = str(_SOURCES / "ffi.cc")
        command = [compiler, *_FLAGS, "-isystem", jax.ffi.include_dir(), source, "-o", new]
        subprocess.run(command, check=True, capture_output=True, text=True)
        library = ctypes.CDLL(new)
        os.replace(new, path)
    finally:
        Path(new).unlink(missing_ok=True)
    return library


def _version(compiler: str) -> str:
    """Changes with all that the library depends on."""
    told = subprocess.run([compiler, "--version"], check=True, capture_output=True)
    parts = [jax.__version__.encode(), compiler.encode(), told.stdout, " ".join(_FLAGS).encode()]
    parts += [path.read_bytes() for path in sorted(_SOURCES.glob("*.[ch]*"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
