"""The examples in the docstrings of the curve families and of the engine run."""

import doctest
import importlib
import pkgutil

import pytest

import tsl_jax.curves
import tsl_jax.lm

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (tsl_jax.curves, tsl_jax.lm)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["curves.sigmoid", "curves.hyperbola", "curves.power_law", "lm.fit"])
def test_there_are_examples(name):
    tests = doctest.DocTestFinder().find(importlib.import_module(f"tsl_jax.{name}"))
    assert any(test.examples for test in tests)
