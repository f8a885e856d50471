"""The kernel for GPUs on a machine without one: what nvcc makes of it, translated to run on the CPU, called by JAX."""

import ctypes
import functools
import re
import subprocess
import tempfile
from pathlib import Path

import jax

from tsl_jax.fitting.native import building
from tsl_jax.fitting.native.tuning import Launch

from . import ptx

SOLVE, MEASURE = "emulated_solve", "emulated_measure"

_HERE = Path(__file__).parent
_TOOLS = building.cuda("9.0")


@functools.cache
def why_missing() -> str | None:
    """Why it cannot be had; None where JAX knows it."""
    if building.compiler_of(_TOOLS) is None:
        return building.no_compiler(_TOOLS)
    load()
    return None


def load(counted: bool = False) -> dict[str, ctypes.c_uint64]:
    """Build it and make it known to JAX; counted, give what each of its kernels executes from now on."""
    with tempfile.TemporaryDirectory() as folder:
        library, kernels = _build(building.compiler_of(_TOOLS) or [], Path(folder), counted)
    for name in (SOLVE, MEASURE):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    return {name: ctypes.c_uint64.in_dll(library, f"{name}_executed") for name in kernels if counted}


def _build(compiler: list[str], folder: Path, counted: bool) -> tuple[ctypes.CDLL, list[str]]:
    """The handlers as nvcc builds them, with its PTX for a GPU, a runtime and JAX's contexts for a CPU; its kernels."""
    include = ("-I", str(building.SOURCES), "-isystem", jax.ffi.include_dir())

    def nvcc(source: str, *flags: str) -> Path:
        # Code for the device is optimised, whatever is asked for the host's, which only calls it here.
        arguments = ("-std=c++17", "-O0", *Launch().flags(), *include, *flags, "-c", "-Xcompiler", "-fPIC")
        target = folder / f"{source}.o"
        subprocess.run([*compiler, *arguments, str(_HERE / source), "-o", str(target)], check=True)
        return target

    # PTX alone, which is what runs; no machine code is made of it.
    ptx_alone = ("-gencode", "arch=compute_90,code=compute_90", "--keep", "--keep-dir", str(folder))
    objects = [nvcc("handlers.cu", *ptx_alone), nvcc("runtime.cc")]
    # Kernels get names of their own: the handlers have functions that launch them.
    assembly = re.sub(r"\.entry (\w+)", r".entry ptx_\1", (folder / "handlers.ptx").read_text())
    kernels = folder / "kernels.cc"
    kernels.write_text(ptx.translate(assembly, counted))
    library, seen = folder / "emulated.so", folder / "seen"
    # Nothing else is seen from outside: a kernel for CPUs that is loaded later has functions of the same names.
    seen.write_text(f"{{ global: {SOLVE}; {MEASURE}; ptx_*; local: *; }};")
    flags = (*ptx.FLAGS, f"-Wl,--version-script={seen}")
    subprocess.run(["g++", *flags, str(kernels), *map(str, objects), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)  # where its runtime finds its kernels by name
    return loaded, re.findall(r"\.entry (\w+)", assembly)
