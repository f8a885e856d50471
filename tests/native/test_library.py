"""Building the kernel: where it is kept, when it is built again, and what is said where it cannot be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tsl_jax import cache
from tsl_jax.native import library

COMPILER = library._compiler()
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache, and a compiler that does not take the time to optimise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(library, "_FLAGS", tuple("-O0" if flag == "-O3" else flag for flag in library._FLAGS))
    return cache.compiled_folder("kernel")


def test_it_is_built_once_and_again_for_other_flags(folder, monkeypatch):
    library._built(COMPILER)
    (path,) = folder.iterdir()
    written = path.stat().st_mtime_ns
    library._built(COMPILER)
    assert [p.stat().st_mtime_ns for p in folder.iterdir()] == [written]
    version = library._version(COMPILER)
    assert path.stem == version
    monkeypatch.setattr(library, "_FLAGS", (*library._FLAGS, "-DOTHER"))
    assert library._version(COMPILER) != version


def test_a_file_that_was_cut_short_is_built_again(folder):
    path = folder / f"{library._version(COMPILER)}.so"
    path.write_bytes(b"\x7fELF")
    assert hasattr(library._built(COMPILER), library.SOLVE)
    assert path.stat().st_size > 4


def test_without_a_folder_it_is_built_for_this_process(monkeypatch, folder):
    monkeypatch.setattr(library, "compiled_folder", lambda kind: None)
    assert hasattr(library._built(COMPILER), library.SOLVE)
    assert not list(folder.iterdir())


def test_a_compiler_that_fails_is_told(monkeypatch, tmp_path, folder):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\ncase $1 in --version) echo 1;; *) echo no such header >&2; exit 1;; esac\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    cause = library._load.__wrapped__()
    assert "broken-c++ could not build it: no such header" in cause
    assert not list(folder.iterdir())  # nothing half-made is left


def test_no_compiler_is_told_with_the_cure(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert library._load.__wrapped__() == "no C++ compiler was found; install g++ or clang++, or name one in CXX"
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "install g++" in library._load.__wrapped__()


def test_importing_builds_nothing(tmp_path):
    code = "import tsl_jax; tsl_jax.fit, tsl_jax.fit_store, tsl_jax.Sigmoid()"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert not list(Path(tmp_path).iterdir())
