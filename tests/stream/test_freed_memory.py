"""A worker keeps what it frees, where Dask's default would have it mapped and cleared anew."""

import ctypes
import json
import platform
import subprocess
import sys

import pytest

from tsl_jax.stream.freed_memory import keep_freed_memory

#: Page faults of twenty arrays of 1 MiB, one after the other, in a process that Dask's nanny might have started.
FAULTS = """
import json, resource, sys
import numpy as np
from tsl_jax.stream.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(2**20, np.int8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
keep_freed_memory()
faults()
print(json.dumps([first, faults()]))
"""


def faults(threshold):
    """Page faults before, and after."""
    environment = {"MALLOC_TRIM_THRESHOLD_": threshold, "PYTHONPATH": ":".join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-P", "-c", FAULTS], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back this way")
def test_pages_are_kept_unless_the_user_says_otherwise():
    before, after = faults("65536")
    assert before > 20 * 200  # of 256 pages each
    assert after < 20
    chosen = faults("65537")
    assert min(chosen) > 20 * 200


@pytest.mark.parametrize("lacking", [AttributeError, OSError, TypeError])  # mallopt, the library, a library of no name
def test_where_there_is_no_glibc_nothing_happens(monkeypatch, lacking):
    tried = []

    def load(name):
        tried.append(name)
        raise lacking

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setattr(ctypes, "CDLL", load)
    keep_freed_memory()
    assert tried == [None]
