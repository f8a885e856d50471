"""Programs are found again without tracing, only where they are what would be made, and never without their code."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tsl_jax.data import sample_path
from tsl_jax.stream import kept_programs
from tsl_jax.stream.kept_programs import compiled_for

X = np.arange(8, dtype=np.float32)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where programs are kept; JAX keeps its own where the environment says."""
    monkeypatch.setattr(kept_programs, "_folder", lambda: tmp_path)
    return tmp_path


class Program:
    """One that no cache has yet, and how often it was traced."""

    def __init__(self):
        self.number, self.traced = float(np.random.default_rng().normal()), 0

    def compute(self, x):
        return jnp.sin(x) * self.number

    def lower(self, jitted, device):
        self.traced += 1
        where = jax.sharding.SingleDeviceSharding(device)
        return jitted.lower(jax.ShapeDtypeStruct((8,), jnp.float32, sharding=where))

    def compiled(self, made_from):
        return compiled_for(jax.local_devices()[:1], self.compute, self.lower, "sine", made_from)

    def found(self, *made_from):
        (program,) = self.compiled(made_from or ("sine", self.number))
        return np.asarray(program(X))


def test_a_program_is_found_again_without_tracing_and_gives_the_same_bits(folder):
    program = Program()
    first, again = program.found(), program.found()
    assert program.traced == 1
    assert len(list(folder.iterdir())) == 1
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(again, np.sin(X) * program.number, rtol=1e-5)


def test_other_settings_sources_or_arguments_make_another_program(folder, monkeypatch):
    program = Program()
    program.found()
    with jax.enable_x64(True):
        program.found()
    with jax.default_matmul_precision("highest"):
        program.found()
    program.found("sine", program.number, "another argument")
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") + " ")
    program.found()
    monkeypatch.setattr(kept_programs, "_sources", lambda: "other lines")
    program.found()
    assert program.traced == 6


def test_what_is_only_told_or_kept_makes_no_other_program(folder):
    program = Program()
    program.found()
    with jax.log_compiles(True):
        program.found()
    assert program.traced == 1


def test_a_program_that_comes_from_the_cache_of_jax_is_not_kept(folder, monkeypatch):
    """It would have lost its code."""
    monkeypatch.setattr(kept_programs, "_clear", lambda *_: None)
    program = Program()
    program.found()
    (path,) = folder.iterdir()
    path.unlink()
    np.testing.assert_allclose(program.found(), np.sin(X) * program.number, rtol=1e-5)
    assert not list(folder.iterdir())


def test_another_key_is_another_program_for_jax_too(folder):
    program = Program()
    program.found()
    np.testing.assert_allclose(program.found("the same under", "another key"), np.sin(X) * program.number, rtol=1e-5)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "harm", [lambda data: b"", lambda data: data[:-9], lambda data: data[:200] + b"!" + data[201:]]
)
def test_a_damaged_program_is_made_anew(folder, harm):
    program = Program()
    first = program.found()
    (path,) = folder.iterdir()
    path.write_bytes(harm(path.read_bytes()))
    np.testing.assert_array_equal(program.found(), first)
    assert program.traced == 2


#: Where JAX keeps its own programs beside them, which a process asks for once.
LOST = """
import os, pathlib, sys
from test_kept_programs import Program
folder, program = pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), Program()
first = program.found()
for harm in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])):
    (path,) = folder.glob("tsl_jax-*")
    harm(path)
    assert (program.found() == first).all() and (program.found() == first).all()
assert program.traced == 3, program.traced  # each time it was written anew
"""


def test_a_program_that_was_lost_or_damaged_is_kept_again_though_jax_has_it(tmp_path):
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    settings = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0"}
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{LOST}"
    done = subprocess.run([sys.executable, "-c", script], env=environment | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_killed_writers_left_is_removed_after_a_while(folder):
    old, new = folder / "tsl_jax-0123-abcd", folder / "tsl_jax-0123-efgh"
    old.touch(), new.touch()
    os.utime(old, (0, 0))
    Program().found()
    assert not old.exists()
    assert new.exists()


def test_programs_of_unreadable_sources_or_that_cannot_be_pickled_are_made_each_time(folder, monkeypatch):
    program = Program()
    monkeypatch.setattr(kept_programs, "_sources", lambda: None)
    program.found()
    assert not list(folder.iterdir())
    monkeypatch.setattr(kept_programs, "_sources", lambda: "lines")
    monkeypatch.setattr(kept_programs.serialize_executable, "serialize", lambda _: threading.Lock())
    program.found()
    assert not list(folder.iterdir())


def test_what_cannot_be_kept_is_made(monkeypatch, tmp_path):
    program = Program()
    (tmp_path / "file").touch()
    monkeypatch.setattr(kept_programs, "_folder", lambda: tmp_path / "file" / "folder")
    program.found()
    program.found()
    assert program.traced == 2


def test_nothing_is_kept_of_what_is_made_from_unknown_lines(folder):
    program = Program()
    program.compiled(None)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_compilation_cache_dir", None),
        ("jax_compilation_cache_dir", "gs://bucket/programs"),
        ("jax_enable_compilation_cache", False),
        ("jax_compilation_cache_max_size", 1000),
    ],
)
def test_where_jax_keeps_none_or_counts_them_none_is_kept(name, value):
    before = jax.config.values[name]
    try:
        jax.config.update(name, value)
        assert kept_programs._folder() is None
    finally:
        jax.config.update(name, before)


def test_the_second_fit_of_a_user_traces_nothing(tmp_path):
    """The whole command, in processes of its own: no program is made, and all bits are those of the first."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"), "JAX_LOG_COMPILES": "1"}
    told = []
    for name in ("first", "second"):
        command = [sys.executable, "-m", "tsl_jax", "fit", str(sample_path()), str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        told.append(done.stderr)
    assert "fit_rows" in told[0]
    assert "fitted_rows" in told[0]
    assert "Finished tracing" not in told[1]
    one, other = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("c/*")
            if path.is_file()
        }
        for name in ("first", "second")
    )
    assert len(one) > 20
    assert one == other
