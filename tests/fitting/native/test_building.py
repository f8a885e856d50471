"""Building the kernel: where it is kept, when it is built again, and what is said where it cannot be."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from tsl_jax import cache
from tsl_jax.fitting import native
from tsl_jax.fitting.native import building, loading

COMPILER = building.compiler_of(building.CPU)
#: Which does not take the time to optimise.
TOOLS = building.CPU._replace(flags=tuple("-O0" if flag == "-O3" else flag for flag in building.CPU.flags))
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.compiled_folder("kernel")


def test_it_is_built_once_for_its_user_alone_and_again_for_other_flags_or_if_cut(folder):
    before = os.umask(0)
    try:
        building.built(TOOLS, COMPILER)
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o700
    written = path.stat().st_mtime_ns
    _, version = building.built(TOOLS, COMPILER)
    assert [p.stat().st_mtime_ns for p in folder.iterdir()] == [written]
    assert path.stem.startswith(version)
    assert building._version(TOOLS._replace(flags=(*TOOLS.flags, "-DOTHER")), COMPILER) != version

    # A file that was cut short is built again.
    whole, new = path.read_bytes(), folder / "cut"
    new.write_bytes(whole[: len(whole) // 2])
    new.replace(path)  # the one that is loaded stays as it was
    assert hasattr(building.built(TOOLS, COMPILER)[0], native.SOLVE)
    assert path.read_bytes() == whole


def test_without_a_folder_it_is_built_for_this_process(monkeypatch, folder):
    monkeypatch.setattr(building, "compiled_folder", lambda kind: None)
    assert hasattr(building.built(TOOLS, COMPILER)[0], native.SOLVE)
    assert not list(folder.iterdir())


@pytest.fixture
def planted(folder):
    """A library that somebody else may have put there: of the right name, and digest. It says so when it is loaded."""
    ctypes.CDLL(None).unsetenv(b"PLANTED")
    source = folder.parent / "planted.c"
    source.write_text('__attribute__((constructor)) void run(void) { extern int putenv(char *); putenv("PLANTED=1"); }')
    library = folder / "planted"
    subprocess.run([*COMPILER, "-shared", "-fPIC", "-xc", str(source), "-o", str(library)], check=True)
    digest = building._digest(library.read_bytes())
    path = library.rename(folder / f"{building._version(TOOLS, COMPILER)}-{digest}.so")
    path.chmod(0o757)
    return path


def planted_ran():
    """Whether the constructor of the planted library ran: Python's own copy of the environment is older."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    return getenv(b"PLANTED") is not None


def test_a_planted_library_is_not_loaded_and_the_kernel_is_built_beside_it(folder, planted):
    with pytest.warns(cache.CacheWarning, match=f"{planted}: can be written by others"):
        library, _ = building.built(TOOLS, COMPILER)
    assert hasattr(library, native.SOLVE)
    assert not planted_ran()
    assert len(list(folder.glob("*.so"))) == 2


def test_in_a_folder_of_others_nothing_is_loaded_nor_written(folder, planted):
    planted.chmod(0o700)  # its own mode is right
    folder.chmod(0o777)
    with pytest.warns(cache.CacheWarning, match=f"{folder}: can be written by others"):
        library, _ = building.built(TOOLS, COMPILER)
    assert hasattr(library, native.SOLVE)
    assert not planted_ran()
    assert list(folder.iterdir()) == [planted]
    folder.chmod(0o700)
    building.built(TOOLS, COMPILER)
    assert planted_ran()  # so that the test would see it


def test_where_others_could_exchange_it_the_kernel_is_not_built(monkeypatch, folder, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setattr(building, "compiled_folder", lambda kind: None)
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    told = loading._register(TOOLS)
    assert told.startswith(f"it could not be built or loaded: {shared}: can be written by others")
    assert told.endswith("or name a folder of your own in TMPDIR.")
    assert not list(shared.iterdir())


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Names in CXX a compiler that does this instead of compiling."""

    def write(script):
        path = tmp_path / "broken-c++"
        path.write_text(f"#!/bin/sh\ncase $1 in --version) echo 1;; *) {script};; esac\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))

    return write


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo no such header >&2; exit 1", "broken-c++ could not build it: no such header"),
        ("printf 'erreur \\351' >&2; exit 1", "broken-c++ could not build it: erreur"),  # in another encoding
        ("exec sleep 60", "broken-c++ was not done after 2 seconds; name another compiler in CXX"),
        ("true", "it could not be built or loaded: "),
        (f'echo | {" ".join(COMPILER or [])} -shared -x c++ - -o "$(eval echo "\\${{$#}}")"', "undefined symbol"),
    ],
)
def test_a_compiler_that_fails_is_told(monkeypatch, folder, broken, script, told):
    broken(script)
    monkeypatch.setattr(building, "_PATIENCE", 2)
    assert told in loading._register(TOOLS)
    assert not list(folder.glob("tmp*"))  # nothing half-made is left


def test_a_compiler_that_does_not_tell_its_version_is_told(monkeypatch, folder):
    monkeypatch.setenv("CXX", "false")
    assert loading._register(TOOLS).endswith("false could not build it: ")


@pytest.mark.parametrize("name", ["no-such-compiler", "no-such-compiler -O2", "'g++"])
def test_a_wrong_name_is_told_with_the_cure(monkeypatch, name):
    monkeypatch.setenv("CXX", name)
    cause = f"CXX names {name!r}, which was not found; name a C++ compiler that is there, or unset CXX"
    assert loading._register(TOOLS) == cause


def test_no_compiler_is_told_with_the_cure(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert loading._register(TOOLS) == "no C++ compiler was found; install g++ or clang++, or name one in CXX"


def test_a_compiler_may_have_arguments(monkeypatch):
    monkeypatch.setenv("CXX", f"env {COMPILER[0]} -DOTHER")
    compiler = building.compiler_of(TOOLS)
    assert compiler == [shutil.which("env"), COMPILER[0], "-DOTHER"]
    assert building._run(compiler, "--version") == building._run(COMPILER, "--version")


def test_it_is_built_again_for_another_jaxlib(monkeypatch):
    version = building._version(TOOLS, COMPILER)
    monkeypatch.setattr(
        building.importlib.metadata, "version", lambda name: "another"
    )  # its headers are in jaxlib, not in jax
    assert building._version(TOOLS, COMPILER) != version


def test_it_is_built_again_when_the_sources_change(monkeypatch, tmp_path):
    version = building._version(TOOLS, COMPILER)
    monkeypatch.setattr(building, "SOURCES", Path(shutil.copytree(building.SOURCES, tmp_path / "src")))
    assert building._version(TOOLS, COMPILER) == version
    for name in ("cpu.cc", "steps.h"):
        with open(tmp_path / "src" / name, "a") as file:
            file.write("//")
        assert version != (version := building._version(TOOLS, COMPILER))


CUDA = building.cuda("9.0")
NVCC = building.compiler_of(CUDA)


@pytest.fixture(scope="module")
def folder_of_gpus(tmp_path_factory):
    """A cache in which the kernel for GPUs is kept, once it was built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("gpus")))
        yield cache.compiled_folder("kernel")


@pytest.mark.skipif(NVCC is None, reason="no CUDA compiler")
@pytest.mark.usefixtures("folder_of_gpus")
def test_it_builds_for_gpus_on_a_machine_without_one():
    library, _ = building.built(CUDA, NVCC)
    assert hasattr(library, native.SOLVE)
    assert hasattr(library, native.MEASURE)


@pytest.mark.skipif(NVCC is None, reason="no CUDA compiler")
@pytest.mark.usefixtures("folder_of_gpus")
def test_where_it_cannot_run_the_driver_tells():
    told = loading._register(CUDA) or ""
    assert told.startswith("it cannot run: ") or _has_gpu()  # such as: no CUDA-capable device is detected
    assert not _has_gpu() or not told


def _has_gpu() -> bool:
    return any(device.platform == "gpu" for device in jax.local_devices())


def test_it_builds_for_the_gpu_that_is_there(monkeypatch):
    client = SimpleNamespace(platform_version="PJRT C API\ncuda 13000")
    device = SimpleNamespace(client=client, compute_capability="12.0", device_kind="NVIDIA RTX PRO 6000")
    older = SimpleNamespace(client=client, compute_capability="8.9", device_kind="NVIDIA L40S")
    monkeypatch.setattr(jax, "local_devices", lambda backend: [device, older, device])
    monkeypatch.setattr(loading, "_IS_CHECKOUT", True)
    registered = []
    monkeypatch.setattr(loading, "_register", registered.append)
    assert loading._load.__wrapped__("gpu") is None
    tools, for_cpus = registered
    assert (tools.platform, for_cpus) == ("CUDA", building.CPU)
    codes = [flag.partition("=")[2] for flag in tools.flags if flag.startswith("-gencode")]
    assert codes == [
        "arch=compute_89,code=sm_89",
        "arch=compute_120,code=sm_120",
        "arch=compute_89,code=compute_89",
    ]


def test_another_makers_gpu_is_told(monkeypatch):
    client = SimpleNamespace(platform_version="PJRT C API\nrocm 70000")
    device = SimpleNamespace(client=client, device_kind="gfx942")
    monkeypatch.setattr(jax, "local_devices", lambda backend: [device])
    told = loading._load.__wrapped__("gpu")
    assert told == "it is for CPUs and NVIDIA's GPUs, and the default device is a gfx942"


def test_the_compiler_that_jax_brings_is_found_first(monkeypatch, tmp_path):
    (tmp_path / "cu13" / "bin").mkdir(parents=True)
    nvcc = tmp_path / "cu13" / "bin" / "nvcc"
    nvcc.write_text("#!/bin/sh\n")
    nvcc.chmod(0o755)
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(building.importlib.util, "find_spec", {"nvidia": package}.get)
    monkeypatch.delenv("CUDACXX", raising=False)
    assert building.compiler_of(building.cuda("9.0")) == [str(nvcc)]
    monkeypatch.setenv("CUDACXX", f"{COMPILER[0]} -x cu")
    assert building.compiler_of(building.cuda("9.0")) == [*COMPILER, "-x", "cu"]


def test_no_cuda_compiler_is_told_with_the_cure(monkeypatch):
    monkeypatch.delenv("CUDACXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    told = loading._register(building.cuda("9.0"))
    cure = "install tsl_jax[cuda], which brings one, and g++, or name one in CUDACXX"
    assert told == f"no CUDA compiler was found; {cure}"


def test_importing_builds_nothing(tmp_path):
    code = "import tsl_jax; tsl_jax.fit, tsl_jax.fit_store, tsl_jax.Sigmoid()"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert not list(Path(tmp_path).iterdir())
