"""Building the kernel and making it known to JAX."""

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import os
import shlex
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
#: Seconds after which a compiler is given up: it takes some ten, and hours where it waits for something.
_PATIENCE = 300
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
        return _no_compiler()
    try:
        library = _built(compiler)
        targets = {name: jax.ffi.pycapsule(getattr(library, name)) for name in (SOLVE, MEASURE)}
    except subprocess.CalledProcessError as error:
        return f"{shlex.join(compiler)} could not build it: {error.stderr.strip()[-500:]}"
    except subprocess.TimeoutExpired:
        return f"{shlex.join(compiler)} was not done after {_PATIENCE} seconds; name another compiler in CXX"
    except (OSError, AttributeError) as error:
        return f"it could not be built or loaded: {error}"
    for name, target in targets.items():
        jax.ffi.register_ffi_target(name, target, platform="cpu")
    return None


def _compiler() -> list[str] | None:
    """The compiler and its arguments, such as ``ccache g++``."""
    names = [os.environ["CXX"]] if os.environ.get("CXX", "").strip() else ["c++", "g++", "clang++"]
    with contextlib.suppress(ValueError):  # a quotation mark without its second
        for command, *arguments in map(shlex.split, names):
            if found := shutil.which(command):
                return [found, *arguments]
    return None


def _no_compiler() -> str:
    if os.environ.get("CXX", "").strip():
        return f"CXX names {os.environ['CXX']!r}, which was not found; name a C++ compiler that is there, or unset CXX"
    return "no C++ compiler was found; install g++ or clang++, or name one in CXX"


def _built(compiler: list[str]) -> ctypes.CDLL:
    """The library, from the cache folder or else built into it; where it cannot be written, only for this process."""
    folder, version = compiled_folder("kernel"), _version(compiler)
    for path in folder.glob(f"{version}-*.so") if folder else ():
        if path.stem == f"{version}-{_digest(path)}":  # loading a file that was cut short may end the process
            with contextlib.suppress(OSError):
                return ctypes.CDLL(str(path))
    if folder and os.access(folder, os.W_OK):
        return _build(compiler, folder, version)
    with tempfile.TemporaryDirectory() as own:
        return _build(compiler, Path(own), version)


def _build(compiler: list[str], folder: Path, version: str) -> ctypes.CDLL:
    """Build under another name and load; the right name is given to a whole file, and tells what is in it."""
    handle, new = tempfile.mkstemp(dir=folder, suffix=".so")
    os.close(handle)
    try:
        _run(compiler, *_FLAGS, "-isystem", jax.ffi.include_dir(), str(_SOURCES / "ffi.cc"), "-o", new)
        library = ctypes.CDLL(new)
        os.replace(new, folder / f"{version}-{_digest(Path(new))}.so")
    finally:
        Path(new).unlink(missing_ok=True)
    return library


def _run(compiler: list[str], *arguments: str) -> str:
    """What the compiler prints; it may do so in any encoding."""
    command = [*compiler, *arguments]
    return subprocess.run(
        command,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=_PATIENCE,
        text=True,
        errors="replace",
    ).stdout


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _version(compiler: list[str]) -> str:
    """Changes with all that the library depends on."""
    parts = [importlib.metadata.version("jaxlib"), *compiler, _run(compiler, "--version"), *_FLAGS]
    parts += [path.read_text() for path in sorted(_SOURCES.glob("*.[ch]*"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
