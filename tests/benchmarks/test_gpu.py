"""The call that a GPU gets: parts that fail or would not end in time take no other with them, and it goes on."""

import dataclasses
import json
import subprocess
import sys

import pytest

from benchmarks.gpu import run
from benchmarks.gpu.checking import apart
from tests.fitting.planted import AXIS, SIGMOID, noisy
from tsl_jax import fit
from tsl_jax.fitting.native import tuning
from tsl_jax.fitting.native.building import cuda
from tsl_jax.fitting.native.tuning import DEFAULT, Launch, keep, tuned


@pytest.fixture
def parts(monkeypatch):
    """Parts without a GPU: one that ends well, one that crashes, one that says nothing."""
    scripts = {
        "check": "print('all agree'); print('{\"worse\": 0}')",
        "tune": "import os; print('begun', flush=True); os.abort()",
        "rates": "print('no result')",
    }
    monkeypatch.setattr(run, "_command", lambda part, rehearse: [sys.executable, "-c", scripts[part]])


def test_parts_that_fail_take_no_other_with_them(parts, tmp_path, capsys):
    path = tmp_path / "gpu.json"
    arguments = ["--out", str(path), "--part", "tune", "check", "rates"]
    run.main(arguments)
    told = capsys.readouterr().out
    assert "tune: failed after" in told
    assert "check: all agree" in told
    kept = json.loads(path.read_text())
    assert kept["parts"]["check"]["worse"] == 0
    assert kept["left_out"] == ["tune", "rates"]
    run.main(arguments)
    assert "check: done before" in capsys.readouterr().out


def test_a_part_that_would_not_end_in_time_is_left_out(parts, tmp_path, capsys):
    run.main(["--out", str(tmp_path / "gpu.json"), "--part", "check", "--minutes", "1"])
    assert "check: left out, 60 of its 120 seconds are left; --part check runs it" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(pytestconfig):
    command = [sys.executable, "-m", "benchmarks.gpu", "--one", "check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=pytestconfig.rootpath)
    assert done.returncode == 1
    assert "JAX finds no GPU; --rehearse goes through all parts on a CPU" in done.stderr


def test_curves_that_end_apart_are_counted():
    found = fit(SIGMOID, AXIS, noisy())
    assert apart(found, found) == {"worse": 0, "better": 0, "other_status": 0, "nan": 0}
    other = found.rss.at[0].mul(2).at[1].mul(0.5)
    rows = apart(dataclasses.replace(found, rss=other), found)
    assert rows["worse"] == rows["better"] == 1 / len(found.rss)


def test_what_was_tuned_is_built(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    best = Launch(threads=256, fits=2)
    assert tuned("Some GPU") == DEFAULT
    path = keep("Some GPU", best)
    assert tuned("Some GPU") == best
    assert tuned("Another GPU") == DEFAULT
    assert "-DTSL_THREADS=256" in cuda("9.0", launch=tuned("Some GPU")).flags
    assert path is not None
    for damaged in ('{"threads": 100}', '{"threads": "many"}', "{", "[]"):
        path.write_text(damaged)
        assert tuned("Some GPU") == DEFAULT
    monkeypatch.setattr(tuning, "compiled_folder", lambda kind: None)
    assert keep("Some GPU", best) is None
