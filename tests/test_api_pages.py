"""Every public name has a place among the API pages, which are written when the site is built."""

import importlib
import inspect
import pkgutil
import re
import sys

import pytest

import tsl_jax
from tests.pages import ROOT

pytest.importorskip("sphinx")


@pytest.fixture(scope="module")
def site():
    """The modules of docs/_extensions."""
    folder = str(ROOT / "docs/_extensions")
    sys.path.insert(0, folder)
    yield {name: importlib.import_module(name) for name in ("public", "api_pages")}
    sys.path.remove(folder)


def listed():
    """Full names of everything that tsl_jax and its packages list as public, but the command and modules."""
    packages = [importlib.import_module(f"tsl_jax.{found.name}") for found in pkgutil.iter_modules(tsl_jax.__path__)]
    for module in (tsl_jax, *packages):
        for name in getattr(module, "__all__", []) if module.__name__ != "tsl_jax.cli" else []:
            if not inspect.ismodule(getattr(module, name)):
                yield module.__name__, name


def test_every_public_name_is_on_an_api_page(site, tmp_path):
    app = type("App", (), {"srcdir": tmp_path})
    site["api_pages"].write_pages(app)
    pages = {path.stem: path.read_text() for path in (tmp_path / "generated").glob("*.rst")}
    assert len(pages) > 10
    for package, name in listed():
        here = re.search(rf"^\.\. (autoclass|autofunction|py:data):: {package}\.{name}$", pages[package], re.MULTILINE)
        link = re.search(rf":py:obj:`{name} <([\w.]+)\.{name}>`", pages[package])
        assert here or link, (package, name)
        if link:
            assert re.search(rf"^\.\. [\w:]+:: {link[1]}\.{name}$", pages[link[1]], re.MULTILINE), (package, name)


def test_every_public_name_is_documented(site):
    names = site["public"].public_names()
    assert len(names) > 250
    assert [found.full for found in names if not found.documentation] == []


def test_a_constant_says_what_stands_before_it(site):
    [lease] = [found for found in site["public"].public_names() if found.name == "LEASE_SECONDS"]
    assert lease.full == "tsl_jax.store.LEASE_SECONDS"
    assert "econds" in lease.documentation


def test_a_name_without_a_docstring_is_seen(site):
    import dataclasses

    @dataclasses.dataclass
    class Nothing:
        one: int

    assert site["public"].PublicName("Nothing", "tests", ("tests",), Nothing).documentation == ""


def test_names_are_found_by_whichever_name_a_docstring_uses(site):
    candidates, full = site["api_pages"]._candidates, site["api_pages"]._by_all_names()
    site["api_pages"]._FULL.update(full)
    assert candidates("FitOptions.noise")[0] == "tsl_jax.FitOptions.noise"
    assert candidates("tsl_jax.fitting.FitOptions") == ["tsl_jax.FitOptions", "tsl_jax.FitOptions"]
    assert candidates("store.LossStore")[0] == "tsl_jax.store.LossStore"
    assert candidates("p * g") == []
    assert not site["api_pages"]._exists("tsl_jax.fitting.no_such_name")
    assert site["api_pages"]._exists("tsl_jax.fitting.options.FitOptions")


def test_the_tables_of_the_first_api_page_have_every_name_of_tsl_jax():
    text = (ROOT / "docs/api/index.rst").read_text()
    named = [*re.findall(r"^   (\w+)$", text, re.MULTILINE), "FAMILIES"]
    wanted = [name for name in tsl_jax.__all__ if not inspect.ismodule(getattr(tsl_jax, name))]
    assert sorted(named) == sorted(wanted)
