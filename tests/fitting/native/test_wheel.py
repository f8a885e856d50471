"""The wheel, out of the source distribution: what is in it, what its kernels need, whether they agree, and its use."""

import ctypes
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import AXIS, CHECKPOINTS, SIGMOID, noisy, options_of, same_bits
from tests.needed import missing
from tsl_jax import FitOptions, fit
from tsl_jax.fitting import native
from tsl_jax.fitting.measures import measure
from tsl_jax.fitting.native import building, loading
from tsl_jax.fitting.native.processor import LEVELS, instruction_level
from tsl_jax.fitting.noise import assumed_noise
from tsl_jax.fitting.preparation import prepare
from tsl_jax.fitting.solution import solve

ROOT = Path(__file__).parents[3]
KINDS = list(LEVELS) if platform.machine() in ("x86_64", "AMD64") else [platform.machine()]


def make(kind: str, sources: Path, folder: Path, **environment: str) -> Path:
    """What the package's build backend makes of sources: ``"sdist"`` or ``"wheel"``."""
    settings = {"cmake.build-type": "None"}  # the flags are those of the environment
    code = f"import scikit_build_core.build as b; print(b.build_{kind}({str(folder)!r}, {settings}))"
    command, env = [sys.executable, "-c", code], os.environ | environment
    done = subprocess.run(command, cwd=sources, env=env, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The source distribution, unpacked."""
    if importlib.util.find_spec("scikit_build_core") is None:
        missing("scikit-build-core, which makes wheels: make .venv/installed")
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(make("sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    """With the kernels, for which the compiler does not take its time; what it warns of is an error."""
    if building.compiler_of(building.CPU) is None:
        missing(building.no_compiler(building.CPU))
    return make(
        "wheel", sources, tmp_path_factory.mktemp("wheel"), CXXFLAGS="-O1 -Wall -Werror", TSL_JAX_NEEDS_KERNEL="1"
    )


@pytest.fixture(scope="module")
def libraries(wheel, tmp_path_factory):
    """The folder with the kernels of the wheel."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "tsl_jax" / "fitting" / "native" / "lib"


def test_one_wheel_serves_every_python_and_holds_all_that_is_in_the_package(wheel):
    assert wheel.name.split("-")[2:4] == ["py3", "none"]
    assert not wheel.name.endswith("-any.whl")
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tsl_jax").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    kernels = {f"tsl_jax/fitting/native/lib/{kind}.so" for kind in KINDS}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("tsl_jax/")} == ours | kernels


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf")
@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_needs_the_system_alone(libraries, kind):
    def read(what: str) -> list[str]:
        command = ["readelf", "--wide", what, str(libraries / f"{kind}.so")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    needed = {line.split("[")[1].rstrip("]") for line in read("--dynamic") if "(NEEDED)" in line}
    assert {name.split(".so")[0] for name in needed} <= {"libc", "libm", "libstdc++", "libgcc_s", "ld-linux-aarch64"}
    names = {line.split()[7] for line in read("--dyn-syms") if len(line.split()) > 7}
    assert {native.SOLVE, native.MEASURE} <= names
    assert not {name for name in names if name.lstrip("_").startswith("Py")}


@pytest.fixture(scope="module")
def block():
    """Noisy sigmoids, of which some have gaps."""
    losses = np.concatenate([noisy(k) for k in range(4)])
    losses[::3, 5:8] = np.nan
    return prepare(SIGMOID, options_of("native"), jnp.linspace(0, 1, CHECKPOINTS), jnp.asarray(losses), None)[0]


def fitted(kernel, block):
    """Solutions and measures."""
    options = options_of(kernel)
    solution = solve(SIGMOID, options, block)
    noise = assumed_noise("correlated", None, CHECKPOINTS, jnp.float32)
    return [*solution, *measure(SIGMOID, options, noise, block, solution)]


@pytest.fixture(scope="module")
def expected(block):
    """What the kernel of this checkout gives."""
    if cause := native.why_missing():
        missing(f"the native kernel: {cause}")
    return fitted("native", block)


@pytest.fixture(scope="module")
def results(libraries, block):
    """What the kernels give that this processor can run, by their names."""
    found, level = {}, instruction_level()
    with pytest.MonkeyPatch.context() as patch:
        for kind in KINDS[: KINDS.index(level) + 1]:
            library, names = ctypes.CDLL(str(libraries / f"{kind}.so")), (f"{kind}_solve", f"{kind}_measure")
            for name, part in zip(names, (native.SOLVE, native.MEASURE), strict=True):
                jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, part)), platform="cpu")
            patch.setitem(native.TARGETS, kind, names)
            found[kind] = fitted(kind, block)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_every_width(results, expected, kind):
    if kind not in results:
        pytest.skip(f"built, but this processor has no {kind}")
    for found, right in zip(results[kind], expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=0.01, atol=1e-3 * np.nanmedian(np.abs(right)))


def test_the_width_of_vectors_changes_no_bit(results):
    if "x86-64-v4" not in results:
        pytest.skip("this processor has no AVX-512")
    assert same_bits(results["x86-64-v3"], results["x86-64-v4"])


def test_the_kernel_of_the_processor_is_taken_and_told(monkeypatch, libraries):
    announced, builds = [], {}
    monkeypatch.setattr(loading, "announce", lambda library, platform: announced.append((library._name, platform)))
    monkeypatch.setattr(loading, "_BUILDS", builds)
    for kind in KINDS[: KINDS.index(instruction_level()) + 1]:
        monkeypatch.setattr(loading, "instruction_level", lambda kind=kind: kind)
        assert loading._register_installed(libraries) is None
        assert announced.pop() == (str(libraries / f"{kind}.so"), "cpu")
        assert loading.build_of("cpu").split()[0] == kind
    monkeypatch.setattr(loading, "instruction_level", lambda: "sparc")
    told = loading._register_installed(libraries)
    assert told == f"this processor is of the kind sparc, and the package has kernels for {', '.join(KINDS)}"
    assert not announced


@pytest.mark.parametrize("content", [b"", b"\x7fELF cut short"])
def test_a_kernel_that_does_not_load_is_told(tmp_path, content):
    (tmp_path / f"{instruction_level()}.so").write_bytes(content)
    assert loading._register_installed(tmp_path).startswith("it could not be loaded: ")


def test_a_jaxlib_that_refuses_the_kernel_is_told(monkeypatch, libraries):
    def refuse(name, target, platform):
        raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: the handler's API version (0.2) is incompatible")

    monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
    told = loading._register_installed(libraries)
    assert told == "it could not be loaded: INVALID_ARGUMENT: the handler's API version (0.2) is incompatible"


def test_an_editable_install_is_a_path_that_a_worktree_may_come_before(sources, tmp_path):
    with zipfile.ZipFile(make("editable", sources, tmp_path)) as archive:
        ours = {name: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" not in name}
    (name,) = ours
    assert name.endswith(".pth")
    assert ours[name].strip() == str(sources)


def test_wheels_are_built_for_the_lowest_jaxlib_that_the_package_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (jax_version,) = (name[5:] for name in project["project"]["dependencies"] if name.startswith("jax>="))
    assert f"jaxlib=={jax_version}.0" in project["build-system"]["requires"]


def install(wheel: Path, folder: Path) -> dict[str, str]:
    """An empty environment with the wheel, without a compiler: the variables of its processes."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-index", "--no-deps"]
    subprocess.run([*map(str, pip), "--quiet", str(wheel)], check=True)
    # What it depends on is here already: nothing is fetched.
    (packages / "dependencies.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))
    kept = {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_"))}
    return kept | {"PATH": str(folder / "bin"), "HOME": str(folder)}


def runner(wheel: Path, folder: Path):
    """A function that runs code in such an environment; it prints JSON."""
    env = install(wheel, folder)

    def run(code: str):
        command = [str(folder / "bin" / "python"), "-W", "error", "-c", code]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not (folder / ".cache" / "tsl_jax").exists()  # nothing was built
        return json.loads(done.stdout)

    return run


PROGRAM = """
import json, shutil, numpy as np, tsl_jax as tsl
from tsl_jax.jobs.fit.hardware import describe_fitter
import jax
assert not any(map(shutil.which, ("c++", "g++", "clang++", "cc", "nvcc")))
fit = tsl.fit(tsl.Sigmoid(), np.array({axis}), np.array({losses}), options=tsl.FitOptions(kernel="{kernel}"))
kernel = tsl.fitting.chosen_kernel(tsl.Sigmoid(), tsl.FitOptions(), "float32")
told = {{"file": tsl.__file__, "why": tsl.load_kernel(), "rss": fit.rss.tolist(),
        "params": {{name: value.tolist() for name, value in fit.params.items()}},
        "fitter": describe_fitter(kernel, jax.devices()[0])}}
print(json.dumps(told))
"""


def assert_fits(told: dict, kernel: str, folder: Path) -> None:
    """The package in this folder has fitted what this process fits."""
    assert Path(told["file"]).is_relative_to(folder)
    right = fit(SIGMOID, AXIS, noisy(), options=FitOptions(kernel=kernel))
    for name, value in right.params.items():
        np.testing.assert_allclose(told["params"][name], value, rtol=0.01, atol=0.01)
    np.testing.assert_allclose(told["rss"], right.rss, rtol=1e-3)
    assert told["fitter"]["kernel"] == kernel


def test_installed_without_a_compiler_it_fits_with_the_kernel_that_it_brought(wheel, tmp_path):
    run = runner(wheel, tmp_path)
    told = run(PROGRAM.format(axis=AXIS.tolist(), losses=noisy().tolist(), kernel="native"))
    assert told["why"] is None
    assert_fits(told, "native", tmp_path)
    assert told["fitter"]["build"].split()[0] == told["fitter"]["instructions"] == instruction_level()


#: Of the suite, what starts processes of its own: they must have the same package, with the same build of the kernel.
PART = (
    "tests/jobs/test_resume.py::test_a_second_run_is_refused_and_a_sigkill_frees_the_output",
    "tests/cli/test_cli_output.py",
)
WHERE = """
import subprocess, sys
import tsl_jax

def test_this_process_and_its_children_have_what_is_installed():
    code = "import tsl_jax, tests; print(tsl_jax.__file__, tests.__path__[0])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert told[0] == tsl_jax.__file__
    assert tsl_jax.__file__.startswith(sys.prefix)
    assert not told[1].startswith({root!r})
    assert tsl_jax.load_kernel() is None
"""


@pytest.mark.skipif(sys.flags.safe_path, reason="all of the suite runs on what is installed")
def test_a_part_of_the_suite_runs_on_what_is_installed(wheel, tmp_path):
    env, outside = install(wheel, tmp_path / "environment"), tmp_path / "outside"
    for name in ("tests", "benchmarks"):
        shutil.copytree(ROOT / name, outside / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(ROOT / "pyproject.toml", outside)
    (outside / "tests" / "test_where.py").write_text(WHERE.format(root=str(ROOT)))
    command = [str(tmp_path / "environment" / "bin" / "python"), "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/test_where.py", *PART], cwd=outside, env=env, capture_output=True, text=True, errors="replace"
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]


def test_made_without_a_compiler_it_installs_and_xla_fits(sources, tmp_path):
    pure = make("wheel", sources, tmp_path, CXX=str(tmp_path / "no-compiler"))
    assert pure.name.endswith("-py3-none-any.whl")
    run = runner(pure, tmp_path / "environment")
    told = run(PROGRAM.format(axis=AXIS.tolist(), losses=noisy().tolist(), kernel="auto"))
    assert told["why"].startswith("tsl_jax was installed without it, for want of a C++ compiler; install g++")
    assert_fits(told, "xla", tmp_path / "environment")


def test_made_where_the_kernel_is_wanted_it_fails_without_a_compiler(sources, tmp_path):
    with pytest.raises(AssertionError, match="no-compiler"):
        make("wheel", sources, tmp_path, CXX="no-compiler", TSL_JAX_NEEDS_KERNEL="1")


@pytest.mark.parametrize(
    ("left_out", "level"),
    [((), "x86-64-v4"), (("avx512dq",), "x86-64-v3"), (("fma",), "x86-64-v2"), (("ssse3", "avx512f"), "machine")],
)
def test_a_level_has_all_instructions_of_those_below(monkeypatch, tmp_path, left_out, level):
    monkeypatch.setattr(platform, "machine", lambda: "machine")
    flags = set().union(*LEVELS.values()) - set(left_out)
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {' '.join(flags)}\n")
    assert instruction_level(tmp_path / "cpuinfo") == level


def test_other_processors_are_called_what_the_system_calls_them(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd evtstrm\n")
    assert instruction_level(tmp_path / "cpuinfo") == instruction_level(tmp_path / "none") == "aarch64"
