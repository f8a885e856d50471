"""The code of README.md and of the pages in docs/ runs as it is typed, from top to bottom of a page.

Pages of guides stand where a reader does who has stores: `here`. All others begin in an empty folder, with a part of
the sample in place of all of it. Commands of guides are run by tests/cli, those of the cluster by
tests/test_cluster_page.py, the pages of losses while training by tests/test_training_pages.py.
"""

import doctest
import os
import re
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import tsl_jax
from tests.pages import ROOT, pages, words
from tsl_jax.cli import app
from tsl_jax.data import sample_path
from tsl_jax.store import create_losses, open_fits, open_losses

TOKENS = 12 * 256
#: Pages that begin with stores.
STANDING = ("docs/guides/", "docs/how-to/fit-a-store")
ELSEWHERE = ("docs/how-to/cluster", "docs/how-to/hugging-face", "docs/how-to/while-training")
CODE = [page for page in pages().values() if re.search(r"^```python\n(?!>>>)", page.text, re.MULTILINE)]
NEEDS = {"docs/how-to/pytorch": "torch"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A part of the package's sample: its first tokens."""
    path, store, first = tmp_path_factory.mktemp("sample") / "sample.zarr", open_losses(sample_path()), slice(0, TOKENS)
    create_losses(
        path,
        store.read(first),
        checkpoints=store.checkpoint_coordinates,
        tokens={name: store.read_coordinate(name, first) for name in store.token_coordinates},
        attributes={"domains": store.attributes["domains"]},
    )
    return path


@pytest.fixture(scope="module")
def here(sample, tmp_path_factory):
    """Where a reader of the guides stands: `losses.zarr`, `fits.zarr`, and `other_seed.zarr` of other noise."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "losses.zarr").symlink_to(sample)
    losses = open_losses(sample)
    noise = np.random.default_rng(0).normal(0, 0.2, losses.losses.shape)
    create_losses(
        folder / "other_losses.zarr",
        (losses.read() + noise).astype("float16"),
        checkpoints=losses.checkpoint_coordinates,
        tokens={name: losses.read_coordinate(name) for name in losses.token_coordinates},
    )
    tsl_jax.fit_store(sample, folder / "fits.zarr", tsl_jax.Sigmoid())
    tsl_jax.fit_store(folder / "other_losses.zarr", folder / "other_seed.zarr", tsl_jax.Sigmoid())
    return folder


def run(page, folder, monkeypatch):
    """Types a page's Python and commands; the names that the Python leaves behind."""
    names = {"__name__": "page"}
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))  # where dataclasses look for annotations
    for number, (kind, text) in enumerate(page.blocks):
        if kind == "python" and not text.startswith(">>>"):  # those run below
            exec(compile(text, f"{page.name}, block {number}", "exec"), names)
        for line in map(words, text.splitlines()):
            if kind == "sh" and line[:1] == ["tsl"] and "guides" not in page.name:
                done = CliRunner().invoke(app, line[1:], env={"COLUMNS": "200", "TERM": "dumb"})
                assert done.exit_code == 0, (line, done.output)
    return names


@pytest.mark.parametrize("page", [page for page in CODE if page.name not in ELSEWHERE], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, sample, tmp_path, monkeypatch, request):
    if package := NEEDS.get(page.name):
        pytest.importorskip(package)
    monkeypatch.setattr(tsl_jax.data, "sample_path", lambda: sample)
    folder = request.getfixturevalue("here") if page.name.startswith(STANDING) else tmp_path
    names = run(page, folder, monkeypatch)
    if check := PROMISES.get(page.name):
        check(names, folder)


def _readme(names, folder):
    fit, truth = names["fit"], names["truth"]
    assert fit.status.tolist() == [tsl_jax.Status.CONVERGED] * 2
    np.testing.assert_allclose(fit.params["learning_time"], truth["learning_time"][:, 0], rtol=1e-3)
    np.testing.assert_allclose(fit.predict(names["step"]), names["losses"], atol=1e-3)
    assert open_fits(folder / "fits.zarr").complete


def _start(names, folder):
    _readme(names, folder)
    assert open_fits(folder / "fits.zarr").num_tokens == TOKENS
    np.testing.assert_array_equal(open_losses(folder / "my_losses.zarr").read(), names["losses"])


def _errors(names, folder):
    truth = np.ravel(names["truth"]["learning_time"])
    interval = names["quick"]
    assert 0.8 < np.mean((interval.lower < truth) & (truth < interval.upper)) < 0.98
    assert np.mean((names["interval"].lower < truth[:50]) & (truth[:50] < names["interval"].upper)) > 0.7


def _gompertz(names, folder):
    fit = names["gompertz"]
    np.testing.assert_allclose(fit.params["centre"], [300, 600], rtol=1e-2)
    assert np.all(fit.r2 > 0.999)


def _jax(names, folder):
    losses, text, params = names["losses"].read(), names["text"], names["checkpoints"][2][1]
    row = np.asarray(params, float)[text[3, 4]]
    np.testing.assert_allclose(losses[3 * 32 + 4, 2], np.log(np.exp(row).sum()) - row[text[3, 5]], rtol=1e-2)


def _torch(names, folder):
    own, rechunked = open_losses(folder / "losses.zarr"), open_losses(folder / "whole.zarr")
    assert own.losses.shape == (16 * 32, 7)
    np.testing.assert_allclose(rechunked.read(), own.read(), rtol=2e-3)
    assert rechunked.checkpoint_coordinates["step"].tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert np.mean(own.read()[:, -1]) < np.log(16)
    assert open_fits(folder / "fits.zarr").complete


def _import(names, folder):
    for name in ("losses", "run", "columns", "wide", "long", "array", "by_step", "frame", "data"):
        store = open_losses(folder / f"{name}.zarr")
        # Tables hold as many digits as tell one float16 from the next.
        np.testing.assert_array_equal(store.read().astype("float16"), names["losses"].astype("float16"))
        assert store.axis().tolist() == names["steps"].tolist()
    assert open_fits(folder / "fits.zarr").complete


def _time(names, folder):
    assert names["law"].params["exponent"] == pytest.approx(0.5, abs=1e-3)


def _weights(names, folder):
    assert set(names["drawn"]) <= set(open_fits(folder / "fits.zarr").read_coordinate("sequence"))


def _runs(names, folder):
    counted = [_falling_events(folder / name) for name in ("fits.zarr", "other_seed.zarr")]
    assert names["found"].all_pairs.of("learning_time").tokens == np.sum(counted[0] & counted[1])
    assert np.mean(counted[0] & counted[1]) > 0.9 * np.mean(counted[0])  # the same tokens with little more noise
    assert names["between_runs"]["learning_time"].shape == (100,)


def _falling_events(path):
    """(tokens,) whether a token is LEARNED, its loss falls, and its learning time has an error."""
    fits = open_fits(path).read()
    learned = (fits.category == tsl_jax.Category.LEARNED) & (fits.params["loss_drop"] > 0)
    return learned & np.isfinite(fits.stderr["learning_time"])


PROMISES = {
    "README": _readme,
    "docs/start": _start,
    "docs/concepts/standard-errors": _errors,
    "docs/how-to/custom-family": _gompertz,
    "docs/how-to/import-losses": _import,
    "docs/how-to/jax": _jax,
    "docs/how-to/pytorch": _torch,
    "docs/guides/rest-of-training": _time,
    "docs/guides/sample-weights": _weights,
    "docs/guides/several-runs": _runs,
}


def test_pages_have_code_and_promises():
    assert {page.name for page in CODE} >= set(PROMISES)


@pytest.mark.parametrize("page", pages().values(), ids=lambda page: page.name)
def test_python_that_needs_what_no_test_has_is_python(page):
    for kind, text in page.blocks:
        if kind == "py":
            compile(text, page.name, "exec")


@pytest.mark.parametrize("page", [page for page in pages().values() if ">>>" in page.text], ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page):
    found = doctest.testfile(os.fspath(page.path), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def test_an_added_job_takes_one_file_of_at_most_60_lines():
    (example,) = re.findall(r"^>>> @dataclasses.*?(?=^>>> losses)", pages()["docs/adding-a-job"].text, re.S | re.M)
    assert len(example.splitlines()) <= 60


def test_the_way_of_a_loss_names_what_is_there_in_at_most_six_files():
    text = pages()["docs/the-way-of-a-loss"].text
    for way in re.findall(r"(?:^\d\. .*\n(?:   .*\n)*)+", text, re.M):
        places = re.findall(r"^\d\. `(tsl_jax/\S+\.pyi?)`(?:, `(\w+)`)?", way, re.M)
        assert 4 < len(places) <= 6
        for path, name in places:
            assert name in ("", *re.findall(r"^(?:def|class) (\w+)", (ROOT / path).read_text(), re.M)), (path, name)
    assert len(re.findall(r"^\*\*To the", text, re.M)) == 2
