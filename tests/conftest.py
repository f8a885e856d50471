"""Fixtures for all tests."""

import gc
import os
import subprocess
import sys
from pathlib import Path

# Tests and the processes that they start have the package of this checkout, and under PYTHONSAFEPATH=1 the one that is
# installed (`make install`).
if not sys.flags.safe_path:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])])
# Programs that several files, workers and commands need are compiled once; `make clean` forgets them.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Arrays are tiny here: compiling is most of what the tests take. Commands and workers inherit the choice.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
# One device, one program to compile, for commands too; tests of several devices say so.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")
# One thread for each worker's matrix products: more only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest

from tests.kills import KillAt
from tests.kills import tree as tree_of
from tests.needed import missing

#: Files that take longest, which begin first: begun last, one would keep a worker while the other has nothing to do.
LONGEST = (
    "fitting/native/test_native_kernel.py",
    "test_examples.py",
    "test_docs.py",
    "fitting/test_quality.py",
    "fitting/native/test_wheel.py",
    "fitting/test_scaling.py",
    "notebooks/test_notebooks.py",
    "fitting/least_squares/test_least_squares.py",
    "cli/test_cli_spectrum.py",
    "fitting/test_far_windows.py",
    "jobs/test_s3.py",
    "jobs/test_dask.py",
    "temporal/positions/test_evolution.py",
    "fitting/native/test_building.py",
    "fitting/test_interval_coverage.py",
    "cli/test_cli_positions.py",
    "fuzz/test_sanitizers.py",
    "fitting/test_as_users_run.py",
    "fitting/test_correlated_noise.py",
    "fitting/test_profile_interval.py",
    "test_cluster_page.py",
    "jobs/test_resume.py",
    "runs/test_run_component.py",
    "test_jax_switches.py",
    "report/test_report_in_a_browser.py",
    "test_training_pages.py",
)


def pytest_configure():
    """Let XLA's older emitters write the CPU's programs: they compile in half the time and run slower.

    A version of XLA that does not know the flag would abort, so it is asked first, in a process of its own. Processes
    that tests start find the package's modules compiled, also where the environment says that none are kept.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if "XLA_FLAGS" in os.environ:
        return
    flag = "--xla_cpu_use_fusion_emitters=false"
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    known = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flag}, capture_output=True)
    os.environ["XLA_FLAGS"] = flag if known.returncode == 0 else ""


def pytest_collection_modifyitems(items):
    """The longest files first; pytest-xdist keeps this order where it is told to (`--no-loadscope-reorder`)."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    assert all(path.exists() for path in places)
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish():
    """Tracing makes millions of objects that live on: Python looks for rings among them less often, and not in modules.

    The whole heap is then gone through a few times, not hundreds of times.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Drops compiled programs when a process holds many: each takes memory maps, of which Linux allows 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_text().splitlines()) > 20_000:
        jax.clear_caches()


@pytest.fixture(autouse=True, scope="session")
def nothing_forced_to_the_disk():
    """The power stays on: forcing thousands of small files to the disk is all that some tests would wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def tree():
    """See `tests.kills.tree`."""
    return tree_of


@pytest.fixture
def kill_at(monkeypatch):
    """See `tests.kills.KillAt`."""
    return KillAt(monkeypatch)


@pytest.fixture(scope="module")
def optimised():
    """Programs and commands as users run them: where they compute more than they compile, or bits are compared."""
    name = "JAX_DISABLE_MOST_OPTIMIZATIONS"
    before = jax.config.read(name.lower())
    # JAX keeps programs without regard to this switch. One that it heeds, and CPUs do not, keeps the two kinds apart.
    apart = "highest" if jax.default_backend() == "cpu" else None
    with jax.default_matmul_precision(apart), pytest.MonkeyPatch.context() as patch:
        jax.config.update(name.lower(), False)
        patch.setenv(name, "false")
        yield
    jax.config.update(name.lower(), before)


@pytest.fixture(scope="session")
def real_lm() -> Path:
    """Loss store of a small language model trained on real text, which lies outside the repository."""
    path = Path(__file__).parents[2] / "shared" / "data" / "real_lm" / "constant.zarr"
    if not path.exists():
        missing(f"the real losses are not at {path}")
    return path
