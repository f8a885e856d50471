"""`tsl plot` and `tsl export`: files of every kind, refusals before the work."""

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    from tests.planted_store import planted_columns, write_fit_store

    folder = tmp_path_factory.mktemp("stores")
    write_fit_store(folder, planted_columns(60, seed=2))
    return folder / "losses.zarr", folder / "fits.zarr"


def test_everything_the_demo_draws_in_a_new_folder(tsl, stores, tmp_path):
    out = tmp_path / "a" / "b"
    done = tsl("plot", *stores, "--out", out, "--format", "svg", "--tokens", "3,17,20:23", "--json")
    assert done.code == 0, done.err
    names = ["tokens.svg", "learning_times.svg", "mean_loss.svg"]
    assert done.json["pictures"] == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert all("<svg" in (out / name).read_text() for name in names)
    for token in (3, 17, 20, 21, 22):
        assert f"<!-- token {token} -->" in (out / "tokens.svg").read_text()


def test_families_without_events_have_no_learning_times(tsl, tmp_path):
    from tests.planted_store import planted_columns, write_fit_store
    from tsl_jax.curves import PowerLaw

    planted = planted_columns(30, category=255)
    columns = {name: planted[name] for name in ("constant", "status")}
    columns |= {"category": planted["category"].astype("uint8")}
    columns |= dict.fromkeys(PowerLaw().names, columns["constant"] * 0 + 1)
    parameters = {parameter.name: parameter.unit for parameter in PowerLaw.parameters}
    losses = columns["constant"][:, None].repeat(10, axis=1)
    write_fit_store(tmp_path, columns, family="power_law", event=None, losses=losses, parameters=parameters)
    done = tsl("plot", tmp_path / "losses.zarr", tmp_path / "fits.zarr", "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert [path.rpartition("/")[2] for path in done.json["pictures"]] == ["tokens.png", "mean_loss.png"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--format", "xyz"), 1, "has the ending '.xyz', expected"),
        (("--tokens", "1,x"), 2, "expected rows such as 3,17,100:105"),
        (("--tokens", "0:1000000000"), 2, "expected 1 to 200"),
        (("--tokens", "60"), 1, "tokens: got 60, expected numbers from 0 to 59"),
    ],
)
def test_refusals(tsl, stores, tmp_path, options, code, says):
    done = tsl("plot", *stores, "--out", tmp_path / "out", *options)
    assert done.code == code
    assert says in " ".join(done.err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_fits_as_a_table(tsl, stores, tmp_path, ending):
    path = tmp_path / "new" / f"table.{ending}"
    done = tsl("export", stores[1], path, "--json")
    assert done.code == 0, done.err
    assert done.json == {"fits": str(stores[1]), "table": str(path), "rows": 60, "pending": 0}
    assert len(pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)) == 60


def test_a_table_of_another_kind_is_refused_before_the_fits_are_opened(tsl, tmp_path):
    done = tsl("export", tmp_path / "none.zarr", tmp_path / "table.xls")
    assert done.code == 1
    assert "TABLE: " in done.err
    assert "has the ending '.xls', expected .csv or .parquet" in " ".join(done.err.split())


def test_unfinished_fits_are_written_with_a_warning(tsl, tmp_path):
    from tests.planted_store import planted_columns, write_fit_store

    write_fit_store(tmp_path, planted_columns(30), finished=False, chunk=10)
    done = tsl("export", tmp_path / "fits.zarr", tmp_path / "a.csv", "--json")
    assert (done.code, done.json["rows"], done.json["pending"]) == (0, 30, 10)
    assert "10 tokens are not fitted yet" in " ".join(done.err.split())
