"""Building the kernel and making it known to JAX."""

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import jax

from ...cache import DoubtfulCodeError, compiled_folder, doubt_about, read_code, warn

#: Names under which JAX knows the kernel's two parts; see `tsl_jax.fitting.native.call` for what they take and return.
SOLVE, MEASURE = "tsl_jax_solve", "tsl_jax_measure"
#: The same by the name of a kernel, as fits are told it: tests have more of them.
TARGETS = {"native": (SOLVE, MEASURE)}

#: Where the kernel's C++ lies.
SOURCES = Path(__file__).parent / "src"
#: Seconds after which a compiler is given up: it takes some ten, and hours where it waits for something.
_PATIENCE = 300
_LOCK = threading.Lock()
_ASKED: set[str] = set()  # backends for which all was done that can be
_BUILDS: dict[str, str] = {}  # what was loaded, by JAX's name of the devices


class Toolchain(NamedTuple):
    """What builds the kernel for one kind of device."""

    platform: str  #: JAX's name of these devices
    source: str
    language: str
    names: tuple[str, ...]  #: compilers that are tried
    variable: str  #: names another one in the environment
    cure: str  #: where there is none
    flags: tuple[str, ...]
    probe: str | None = None  #: a function of the library that tells why it cannot run here, or nothing


_SHARED = ("-std=c++17", "-O3", "-shared")
CPU = Toolchain(
    platform="cpu",
    source="cpu.cc",
    language="C++",
    names=("c++", "g++", "clang++"),
    variable="CXX",
    cure="install g++ or clang++",
    flags=(*_SHARED, "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC"),
)


def cuda(*capabilities: str) -> Toolchain:
    """For NVIDIA's GPUs of these compute capabilities, such as ``9.0``; newer ones compile what is for the least."""
    numbers = sorted({int(capability.replace(".", "")) for capability in capabilities})
    codes = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in numbers]
    codes.append(f"-gencode=arch=compute_{numbers[0]},code=compute_{numbers[0]}")
    return Toolchain(
        platform="CUDA",
        source="cuda.cu",
        language="CUDA",
        names=(*_packaged_nvcc(), "nvcc"),
        variable="CUDACXX",
        cure="install tsl_jax[cuda], which brings one, and g++",
        flags=(*_SHARED, *codes, "-Xcompiler", "-fPIC"),
        probe="tsl_jax_probe",
    )


def why_missing(backend: str = "cpu") -> str | None:
    """Why there is no kernel for this backend of JAX on this machine; None where there is one, which JAX then knows.

    The first time it is built, which takes some 10 seconds, into the user's cache folder. It is built again for another
    compiler, jaxlib or processor.
    """
    with _LOCK:  # one thread builds, others wait for it
        cause = _load(backend)
        _ASKED.add(backend)
        return cause


def was_asked(backend: str) -> bool:
    """Whether `why_missing` answers for this backend at once, and without building or loading anything."""
    return backend in _ASKED


def build_of(platform: str) -> str:
    """What tells the kernel that was loaded for these devices from other builds; "" where none was."""
    return _BUILDS.get("cpu" if platform == "cpu" else "CUDA", "")


@functools.cache
def _load(backend: str) -> str | None:
    if backend == "cpu":
        return _register(CPU)
    devices = jax.local_devices(backend=backend)
    if "cuda" not in devices[0].client.platform_version:
        return f"it is for CPUs and NVIDIA's GPUs, and the default device is a {devices[0].device_kind}"
    cause = _register(cuda(*(device.compute_capability for device in devices)))
    if cause is None:
        _register(CPU)  # for what is put there
    return cause


def _register(tools: Toolchain) -> str | None:
    """Build for JAX, or tell why not."""
    compiler = _compiler(tools)
    if compiler is None:
        return _no_compiler(tools)
    try:
        library = _built(tools, compiler)
        targets = {name: jax.ffi.pycapsule(getattr(library, name)) for name in (SOLVE, MEASURE)}
        cause = _refused(library, tools.probe) if tools.probe else None
    except subprocess.CalledProcessError as error:
        return f"{shlex.join(compiler)} could not build it: {error.stderr.strip()[-500:]}"
    except subprocess.TimeoutExpired:
        command = shlex.join(compiler)
        return f"{command} was not done after {_PATIENCE} seconds; name another compiler in {tools.variable}"
    except (OSError, AttributeError) as error:
        return f"it could not be built or loaded: {error}"
    if cause:
        return f"it cannot run: {cause}"
    for name, target in targets.items():
        jax.ffi.register_ffi_target(name, target, platform=tools.platform)
    _BUILDS[tools.platform] = _version(tools, compiler)
    return None


def _refused(library: ctypes.CDLL, probe: str) -> str | None:
    """What the driver says against running the library's kernels."""
    function = getattr(library, probe)
    function.restype = ctypes.c_char_p
    told = function()
    return told.decode() if told else None


def _compiler(tools: Toolchain) -> list[str] | None:
    """The compiler and its arguments, such as ``ccache g++``."""
    named = os.environ.get(tools.variable, "")
    with contextlib.suppress(ValueError):  # a quotation mark without its second
        for command, *arguments in [shlex.split(named)] if named.strip() else ([name] for name in tools.names):
            if found := shutil.which(command):
                return [found, *arguments]
    return None


def _packaged_nvcc() -> list[str]:
    """The compiler that JAX's packages for CUDA bring, though not on the PATH."""
    nvidia = importlib.util.find_spec("nvidia")
    folders = (nvidia and nvidia.submodule_search_locations) or ()
    return [str(path) for folder in folders for path in sorted(Path(folder).glob("*/bin/nvcc"), reverse=True)]


def _no_compiler(tools: Toolchain) -> str:
    if named := os.environ.get(tools.variable, "").strip():
        return (
            f"{tools.variable} names {named!r}, which was not found; name a {tools.language} compiler that is there, "
            f"or unset {tools.variable}"
        )
    return f"no {tools.language} compiler was found; {tools.cure}, or name one in {tools.variable}"


def _built(tools: Toolchain, compiler: list[str]) -> ctypes.CDLL:
    """The library, from the cache folder or else built into it; where it cannot be written, only for this process."""
    folder, version = compiled_folder("kernel"), _version(tools, compiler)
    for path in folder.glob(f"{version}-*.so") if folder else ():
        try:
            if path.stem == f"{version}-{_digest(read_code(path))}":  # a file that was cut short may end the process
                return ctypes.CDLL(str(path))
        except DoubtfulCodeError as doubt:
            warn(str(doubt))
        except OSError:
            continue  # built anew
    if folder and os.access(folder, os.W_OK):
        return _build(tools, compiler, folder, version)
    with tempfile.TemporaryDirectory() as own:
        if doubt := doubt_about(Path(own).absolute(), "TMPDIR"):
            raise DoubtfulCodeError(doubt)
        return _build(tools, compiler, Path(own), version)


def _build(tools: Toolchain, compiler: list[str], folder: Path, version: str) -> ctypes.CDLL:
    """Build under another name and load; the right name is given to a whole file, and tells what is in it."""
    handle, new = tempfile.mkstemp(dir=folder, suffix=".so")
    os.close(handle)
    try:
        _run(compiler, *tools.flags, "-isystem", jax.ffi.include_dir(), str(SOURCES / tools.source), "-o", new)
        os.chmod(new, 0o700)  # linkers make it anew, with what the umask leaves
        library = ctypes.CDLL(new)
        os.replace(new, folder / f"{version}-{_digest(Path(new).read_bytes())}.so")
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


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()[:16]


def _version(tools: Toolchain, compiler: list[str]) -> str:
    """Changes with all that the library depends on."""
    parts = [importlib.metadata.version("jaxlib"), *compiler, _run(compiler, "--version"), *tools.flags]
    parts += [path.read_text() for path in sorted(SOURCES.glob("*.[ch]*"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
