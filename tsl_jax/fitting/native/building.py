"""Building the kernel with a compiler of this machine, into the user's cache: in a checkout, and for NVIDIA's GPUs."""

import contextlib
import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax

from ...cache import DoubtfulCodeError, compiled_folder, doubt_about, read_code, warn
from .processor import compiler_flags, instruction_level
from .tuning import DEFAULT, Launch

#: Where the kernel's C++ lies.
SOURCES = Path(__file__).parent / "src"
#: Seconds after which a compiler is given up: it takes some ten, and hours where it waits for something.
_PATIENCE = 300


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


CPU = Toolchain(
    platform="cpu",
    source="cpu.cc",
    language="C++",
    names=("c++", "g++", "clang++"),
    variable="CXX",
    cure="install g++ or clang++",
    flags=(
        *(SOURCES / "cpu.flags").read_text().split(),
        *("-O3", "-DNDEBUG", "-shared"),  # as CMake builds for a release, and here for this processor alone
        *compiler_flags(instruction_level()),
    ),
)


def cuda(*capabilities: str, launch: Launch = DEFAULT) -> Toolchain:
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
        flags=("-std=c++17", "-O3", "-shared", *launch.flags(), *codes, "-Xcompiler", "-fPIC"),
        probe="tsl_jax_probe",
    )


def compiler_of(tools: Toolchain) -> list[str] | None:
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


def no_compiler(tools: Toolchain) -> str:
    """Why `compiler_of` found none, with the cure."""
    if named := os.environ.get(tools.variable, "").strip():
        return (
            f"{tools.variable} names {named!r}, which was not found; name a {tools.language} compiler that is there, "
            f"or unset {tools.variable}"
        )
    return f"no {tools.language} compiler was found; {tools.cure}, or name one in {tools.variable}"


def built(tools: Toolchain, compiler: list[str]) -> tuple[ctypes.CDLL, str]:
    """The library, from the cache folder or else built into it; where it cannot be written, only for this process.

    Returns:
        The library, and what tells it from those of other sources, compilers, processors and versions of jaxlib.

    Raises:
        subprocess.CalledProcessError: the compiler failed.
        subprocess.TimeoutExpired: it was not done in time.
        OSError: the library could not be written or loaded, or somebody else could exchange it.
    """
    version = _version(tools, compiler)
    return _loaded(tools, compiler, version), version


def _loaded(tools: Toolchain, compiler: list[str], version: str) -> ctypes.CDLL:
    folder = compiled_folder("kernel")
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
