"""The examples in the docstrings run and show what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import tsl_jax

ROOT = Path(tsl_jax.__file__).parent
MODULES = [
    ".".join(("tsl_jax", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0


def test_there_are_examples():
    assert {name.split(".")[1] for name in MODULES} >= {"curves", "fitting", "store", "jobs", "data"}
