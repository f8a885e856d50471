"""Making the kernel known to JAX: that which was installed, or in a checkout, and for GPUs, one that is built here."""

import ctypes
import functools
import hashlib
import shlex
import subprocess
import threading
from pathlib import Path

import jax

from .building import CPU, Toolchain, built, compiler_of, cuda, no_compiler
from .processor import instruction_level
from .tuning import tuned

#: Names under which JAX knows the kernel's two parts; see `tsl_jax.fitting.native.call` for what they take and return.
SOLVE, MEASURE = "tsl_jax_solve", "tsl_jax_measure"
#: The same by the name of a kernel, as fits are told it: tests have more of them.
TARGETS = {"native": (SOLVE, MEASURE)}

#: Where an installed package has the kernel for CPUs, a file for each level of instructions.
LIBRARIES = Path(__file__).parent / "lib"
#: Where this file lies in a checkout, which has no such folder: its kernel is that of its sources, always.
_IS_CHECKOUT = (Path(__file__).parents[3] / "CMakeLists.txt").is_file()
_LOCK = threading.Lock()
_ASKED: set[str] = set()  # backends for which all was done that can be
_BUILDS: dict[str, str] = {}  # what was loaded, by JAX's name of the devices


def why_missing(backend: str = "cpu") -> str | None:
    """Why there is no kernel for this backend of JAX on this machine; None where there is one, which JAX then knows.

    In a checkout, and for GPUs, the first time it is built, which takes some 10 seconds, into the user's cache folder.
    It is built again for other sources, another compiler, jaxlib or processor.
    """
    with _LOCK:  # one thread builds, others wait for it
        cause = _load(backend)
        _ASKED.add(backend)
        return cause


def was_asked(backend: str) -> bool:
    """Whether `why_missing` answers for this backend at once, and without building or loading anything."""
    return backend in _ASKED


def build_of(platform: str) -> str:
    """What tells the kernel that was loaded for these devices from other builds; "" where none was.

    On CPUs the level of instructions that it uses is the first word.
    """
    return _BUILDS.get("cpu" if platform == "cpu" else "CUDA", "")


@functools.cache
def _load(backend: str) -> str | None:
    if backend == "cpu":
        return _load_for_cpu()
    devices = jax.local_devices(backend=backend)
    if "cuda" not in devices[0].client.platform_version:
        return f"it is for CPUs and NVIDIA's GPUs, and the default device is a {devices[0].device_kind}"
    capabilities = [device.compute_capability for device in devices]
    cause = _register(cuda(*capabilities, launch=tuned(devices[0].device_kind)))
    if cause is None:
        _load_for_cpu()  # for what is put there
    return cause


def _load_for_cpu() -> str | None:
    return _register(CPU) if _IS_CHECKOUT else _register_installed(LIBRARIES)


def _register_installed(folder: Path) -> str | None:
    """Load the library for this processor, or tell why not."""
    level = instruction_level()
    path = folder / f"{level}.so"
    if not path.exists():
        has = ", ".join(sorted(each.stem for each in folder.glob("*.so")))
        if has:
            return f"this processor is of the kind {level}, and the package has kernels for {has}"
        return (
            "tsl_jax was installed without it, for want of a C++ compiler; install g++ or clang++, then tsl_jax again "
            "(pip install --force-reinstall --no-deps), or take a wheel that holds the kernel"
        )
    try:
        announce(ctypes.CDLL(str(path)), CPU.platform)
        _BUILDS[CPU.platform] = f"{level} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    except (OSError, AttributeError, jax.errors.JaxRuntimeError) as error:  # the last from a jaxlib of another time
        return f"it could not be loaded: {error}"
    return None


def _register(tools: Toolchain) -> str | None:
    """Build and load, or tell why not."""
    compiler = compiler_of(tools)
    if compiler is None:
        return no_compiler(tools)
    try:
        library, version = built(tools, compiler)
        if cause := _refused(library, tools.probe) if tools.probe else None:
            return f"it cannot run: {cause}"
        announce(library, tools.platform)
    except subprocess.CalledProcessError as error:
        return f"{shlex.join(compiler)} could not build it: {error.stderr.strip()[-500:]}"
    except subprocess.TimeoutExpired as error:
        command = shlex.join(compiler)
        return f"{command} was not done after {error.timeout:g} seconds; name another compiler in {tools.variable}"
    except (OSError, AttributeError) as error:
        return f"it could not be built or loaded: {error}"
    _BUILDS[tools.platform] = f"{instruction_level()} {version}" if tools.platform == "cpu" else version
    return None


def announce(library: ctypes.CDLL, platform: str, names: tuple[str, str] = (SOLVE, MEASURE)) -> None:
    """Tell JAX of the two parts, by these names.

    Raises:
        AttributeError: the library lacks one.
        jax.errors.JaxRuntimeError: it was built with headers of a jaxlib that is too new, or too old, for this one.
    """
    targets = [jax.ffi.pycapsule(getattr(library, name)) for name in (SOLVE, MEASURE)]
    for name, target in zip(names, targets, strict=True):
        jax.ffi.register_ffi_target(name, target, platform=platform)


def _refused(library: ctypes.CDLL, probe: str) -> str | None:
    """What the driver says against running the library's kernels."""
    function = getattr(library, probe)
    function.restype = ctypes.c_char_p
    told = function()
    return told.decode() if told else None
