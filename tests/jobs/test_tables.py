"""Fits as tables: what is in a store comes back out of pandas, xarray, Parquet and CSV."""

import html.parser

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tsl_jax as tsl
from tests.planted_store import planted_columns, write_fit_store
from tsl_jax.fitting import Category, Status
from tsl_jax.jobs import load_fit, to_pandas, to_xarray
from tsl_jax.jobs.tables import files
from tsl_jax.jobs.tables.columns import coded
from tsl_jax.store import StoreError

TOKENS = 300
DOMAINS = ['plain, "quoted"', "<script>alert(1)</script>", "=1+1"]


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    columns = planted_columns(TOKENS, seed=1)
    columns["learning_time_stderr"] = np.where(np.arange(TOKENS) % 3, 1.5, np.nan).astype("float32")
    tokens = {"domain": np.arange(TOKENS, dtype="int8") % 4, "position": np.arange(TOKENS, dtype="int32") % 7}
    return write_fit_store(
        tmp_path_factory.mktemp("fits"), columns, coordinates=tokens, attributes={"domains": DOMAINS}
    )


@pytest.fixture(scope="module")
def stored(fits):
    return fits.read()


def agree(table, stored, rtol=0.0):
    """Every column of a table, one by one, against the store's arrays."""
    for name, values in (stored.params | {"rss": stored.rss, "constant": stored.constant}).items():
        np.testing.assert_allclose(np.asarray(table[name], np.float64), values, rtol=rtol)
    for name, values in stored.stderr.items():
        np.testing.assert_allclose(np.asarray(table[f"{name}_stderr"], np.float64), values, rtol=rtol)
    for name, values in stored.probabilities.items():
        np.testing.assert_allclose(np.asarray(table[f"{name}_probability"], np.float64), values, rtol=rtol)
    np.testing.assert_allclose(np.asarray(table["second_event"], np.float64), stored.second_event, rtol=rtol)
    assert table["num_points"].tolist() == stored.num_points.tolist()
    assert [Status[name] for name in table["status"]] == stored.status.tolist()
    assert [Category[name] for name in table["category"]] == stored.category.tolist()


@pytest.mark.parametrize(("ending", "rtol"), [("parquet", 0), ("csv", 1e-6)])
@pytest.mark.parametrize("block", [64, 1000])
def test_a_store_comes_back_out_of_a_file(fits, stored, tmp_path, monkeypatch, ending, rtol, block):
    monkeypatch.setattr(files, "_BLOCK_ROWS", block)
    path, seen = tmp_path / "new" / f"table.{ending}", []
    assert tsl.export_fits(fits, path, progress=lambda *done: seen.append(done)) == TOKENS
    table = pd.read_parquet(path) if ending == "parquet" else pd.read_csv(path)
    assert table["token"].tolist() == list(range(TOKENS))
    agree(table, stored, rtol)
    assert table["domain"].tolist() == [([*DOMAINS, "code 3"])[token % 4] for token in range(TOKENS)]
    assert table["position"].tolist() == [token % 7 for token in range(TOKENS)]
    assert seen[-1] == (TOKENS, TOKENS)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_parquet_says_what_it_is_of_and_has_nulls_for_what_is_missing(fits, tmp_path):
    import pyarrow.parquet as pq

    tsl.export_fits(fits, tmp_path / "a.parquet")
    read = pq.read_table(tmp_path / "a.parquet")
    assert read.schema.metadata[b"family"] == b"sigmoid"
    assert read["learning_time_stderr"].null_count == TOKENS // 3


def test_unfinished_fits_have_a_row_for_every_token(tmp_path):
    fits = write_fit_store(tmp_path, planted_columns(TOKENS), finished=False)
    assert tsl.export_fits(fits, tmp_path / "a.csv") == TOKENS
    status = pd.read_csv(tmp_path / "a.csv")["status"]
    assert (status == "PENDING").tolist() == [token >= 100 for token in range(TOKENS)]


def test_a_store_without_tokens_has_a_table_without_rows(tmp_path):
    fits = write_fit_store(tmp_path, planted_columns(0))
    for ending in ("csv", "parquet"):
        assert tsl.export_fits(fits, tmp_path / f"a.{ending}") == 0
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 0
    assert "learning_time" in pd.read_csv(tmp_path / "a.csv").columns


def test_what_fails_leaves_the_file_that_was_there(fits, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("before")

    def broken(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(files, "in_order", broken)
    with pytest.raises(RuntimeError):
        tsl.export_fits(fits, path)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]
    with pytest.raises(StoreError, match=r"a.xls has the ending '.xls', expected .parquet or .csv"):
        tsl.export_fits(fits, tmp_path / "a.xls")


def test_a_store_as_a_table_and_as_a_data_set(fits, stored):
    agree(to_pandas(fits), stored)
    part = to_pandas(fits, slice(10, 20))
    assert part.index.name == "token"
    assert part.index.tolist() == list(range(10, 20))
    data = fits.to_xarray()
    np.testing.assert_array_equal(data["learning_time"], stored.params["learning_time"])
    np.testing.assert_array_equal(data["category"], stored.category)
    meanings = data["category"].attrs["flag_meanings"].split()
    values = data["category"].attrs["flag_values"].tolist()
    assert dict(zip(meanings, values, strict=True)) == {category.name: int(category) for category in Category}
    assert data["domain"].dims == data["learning_time"].dims == ("token",)
    assert data["step"].values.tolist() == fits.axis().tolist()
    assert to_xarray(fits, slice(10, 20))["token"].values.tolist() == list(range(10, 20))
    # Which is what xarray finds in the store without help.
    found = xr.open_zarr(fits.name, chunks=None)
    for name in ("sharpness", "r2", "learned_probability"):
        np.testing.assert_allclose(found[name], data[name], rtol=1e-6)


@pytest.mark.parametrize("index", [5, slice(3, 9), slice(None, None, 50), [299, 0, 0], np.arange(TOKENS) % 100 == 7])
def test_rows_of_a_store_are_fits_in_memory(fits, index, monkeypatch):
    monkeypatch.setattr("tsl_jax.jobs.tables.loading._READ_TOKENS", 128)
    some, whole = fits[index], load_fit(fits)
    assert len(fits) == len(whole) == TOKENS
    for mine, all_of_it in zip(jax.tree.leaves(some), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(mine, all_of_it[index])
    assert some.predict([10.0]).shape == (*np.shape(some.status), 1)


def test_indices_that_are_not_there(fits):
    with pytest.raises(IndexError):
        fits[TOKENS]
    with pytest.raises(IndexError):
        fits[np.ones(3, bool)]
    assert len(fits[np.zeros(TOKENS, bool)]) == 0
    assert fits[:0].to_pandas().shape[0] == 0


def test_a_fit_in_memory_as_a_table_and_as_a_data_set(fits, stored):
    fit = fits[:]
    agree(fit.to_pandas(), stored)
    assert list(fit.to_pandas().columns[:4]) == list(tsl.Sigmoid().names)
    data = fit.to_xarray()
    assert data["loss_drop"].attrs["units"] == "nat"
    assert data.sizes == {"curve": TOKENS}
    np.testing.assert_array_equal(data["rss"], stored.rss)
    square = jax.tree.map(lambda values: values.reshape(20, 15), fit)
    assert square.to_xarray().sizes == {"curve_0": 20, "curve_1": 15}
    table = square.to_pandas()
    assert table.index.names == ["curve_0", "curve_1"]
    assert table.loc[(3, 4), "rss"] == stored.rss[3 * 15 + 4]
    assert to_pandas(fit, slice(7, 20, 6)).index.tolist() == [7, 13, 19]
    assert fit[7].to_pandas().shape == (1, table.shape[1])
    assert fit[7].to_xarray()["rss"] == stored.rss[7]


def test_codes_without_a_word_and_words_of_two_codes_stay_apart():
    places, words = coded(np.array([2, 0, 9, 1]), {0: "a", 1: "b", 2: "a"})
    assert [words[place] for place in places] == ["a (2)", "a (0)", "code 9", "b"]


class Cells(html.parser.HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_a_line_and_a_small_page(tmp_path):
    fits = write_fit_store(tmp_path, planted_columns(30), coordinates={"<b>x": np.arange(30)}, finished=False, chunk=10)
    assert repr(fits).endswith("30 tokens x 10 checkpoints, sigmoid over step (log), unfinished)")
    page = Cells(fits._repr_html_())
    assert page.tags == {"table", "caption", "tr", "th", "td"}
    assert "<b>x" in page.texts
    assert "20 tokens; run the same command again to go on" in page.texts
    texts = Cells(fits[:20]._repr_html_()).texts
    assert "20 CONVERGED" in texts
    read = fits.read(slice(0, 20))
    assert f"{np.median(read.params['loss_drop']):.4g} nat" in texts
    learned = read.category == Category.LEARNED
    rising = np.sum(learned & (read.params["loss_drop"] < 0))
    assert rising > 0
    for found in (page.texts, texts):
        assert f"{np.sum(learned)} LEARNED ({rising} rising)" in next(text for text in found if "LEARNED" in text)
