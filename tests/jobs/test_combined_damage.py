"""Combined fits that are lost, damaged or edited: found, said with a cure, and mended by it bit for bit."""

import json

import numpy as np
import pytest
import zarr

import tsl_jax as tsl
from tests.seeded_stores import seeded_columns, write_runs
from tsl_jax.fitting import EVENT_CATEGORIES, Category
from tsl_jax.store import PROBABILITY_ARRAYS, ChunkError, InvalidStoreError, open_fits, validate


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"), seeded_columns(runs=2, factor=3.0, slope=1.0))


@pytest.fixture(scope="module")
def components(runs):
    return tsl.compare(*runs).components


@pytest.fixture
def combined(runs, components, tmp_path):
    return tsl.combine_fits(runs, tmp_path / "c.zarr", components)


def damage(path, how):
    """Damage the combined fits; whether reading everything alone finds it, and where."""
    if how == "lost":
        (path / "sharpness/c/1").unlink()
        return False, "sharpness/c/1"
    if how == "empty":
        (path / "status/c/2").write_bytes(b"")
        return False, "status/c/2"
    if how == "cut":
        file = path / "learned_probability/c/0"
        file.write_bytes(file.read_bytes()[:-5])
        return False, "tokens 0 to 399"
    if how == "record":
        file = path / "ledger/c.1.0"
        content = bytearray(file.read_bytes())
        content[3] ^= 0xFF
        file.write_bytes(content)
        return False, "ledger/c.1.0"
    array, file = zarr.open_group(path, mode="r+")["learning_time"], path / "learning_time/c/0"
    values, size = array[:200], file.stat().st_size
    for at in range(199):  # two tokens change places, and the object keeps its size
        array[:200] = np.concatenate([values[:at], values[at : at + 2][::-1], values[at + 2 :]])
        if file.stat().st_size == size:
            return True, "tokens 0 to 399"
    raise AssertionError("no change keeps the size")


@pytest.mark.parametrize("how", ["lost", "empty", "cut", "record", "changed"])
def test_damage_is_said_with_a_cure_that_works(runs, components, combined, tmp_path, tree, how):
    path, whole = tmp_path / "c.zarr", tree(tmp_path / "c.zarr")
    assert validate(path, deep=True) == []
    deep, where = damage(path, how)
    found = validate(path, deep=True)
    assert found
    assert found[0].where.startswith(where)
    assert "tsl compare" in found[0].cure
    assert ("--deep" in found[0].cure) == deep
    tsl.combine_fits(runs, path, components, deep=deep)
    assert tree(path) == whole
    assert validate(path, deep=True) == []


def test_a_reader_is_told_what_to_run(combined, tmp_path):
    (tmp_path / "c.zarr/rss/c/0").unlink()
    with pytest.raises(ChunkError, match="Run the tsl compare command that wrote these fits with --out again"):
        open_fits(tmp_path / "c.zarr").read()


def test_the_command_mends_its_combined_fits(runs, combined, components, tmp_path, tree):
    from typer.testing import CliRunner

    from tsl_jax.cli import app

    written = tmp_path / "components.json"
    written.write_text(json.dumps({"components": components.as_dict()}))
    path, whole = tmp_path / "c.zarr", tree(tmp_path / "c.zarr")
    damage(path, "changed")
    command = ["compare", *map(str, runs), "--components", str(written), "--out", str(path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert tree(path) != whole
    assert CliRunner().invoke(app, [*command, "--deep"]).exit_code == 0
    assert tree(path) == whole


def test_the_category_is_the_likeliest_by_its_stored_probabilities(combined):
    fits = combined.read()
    stored = np.stack([combined.arrays[PROBABILITY_ARRAYS[name]][:] for name in EVENT_CATEGORIES]).astype(int)
    none = fits.category == Category.NONE
    codes = {Category[name.upper()]: column for name, column in zip(EVENT_CATEGORIES, stored, strict=True)}
    for code, column in codes.items():
        chosen = fits.category == code
        assert np.all(column[chosen] == stored[:, chosen].max(axis=0)), code.name
    assert np.all(stored[:, none] == 255)
    assert np.all(np.abs(stored[:, ~none].sum(axis=0) - 254) <= 2)
    assert {Category.LEARNED, Category.UNLEARNED, Category.NONE} <= set(fits.category.tolist())


@pytest.mark.parametrize(
    "noise",
    [
        "much",
        {},
        {"lag_mean": "high"},
        {"lag_mean": 0.3, "std": [1.0]},
        {"time": 3},
        {"time": [1.0, float("nan")]},
    ],
)
def test_a_damaged_noise_model_is_an_error_with_a_cure_that_works(tmp_path, noise, tree):
    step = np.geomspace(1, 1000, 40)
    rng = np.random.default_rng(70)
    losses = 1 + 5 / (1 + (step / rng.uniform(20, 200, (80, 1))) ** 3) + rng.normal(0, 0.1, (80, 40))
    tsl.create_losses(tmp_path / "losses", losses.astype("f4"), checkpoints={"step": step})
    fit = [tmp_path / "losses", tmp_path / "fits", tsl.Sigmoid()]
    assert tsl.fit_store(*fit).noise_source == "estimated"
    whole = tree(tmp_path / "fits")
    group = zarr.open_group(tmp_path / "fits", mode="r+")
    model = group.attrs["noise"]
    changed = {name: value for name, value in model.items() if noise != {} or name != "std"}
    group.attrs["noise"] = noise if isinstance(noise, str) else changed | noise
    with pytest.raises(InvalidStoreError, match=r"attribute noise.*Restore its zarr.json, or fit again with overwrite"):
        open_fits(tmp_path / "fits")
    asked = ({}, {"noise": None}, {"noise": tsl.NoiseModel.from_dict(model)})
    asked += ({"options": tsl.FitOptions(noise="independent")},)
    for more in asked:
        with pytest.raises(tsl.store.StoreError, match=r"noise|overwrite"):
            tsl.fit_store(*fit, **more)
    assert validate(tmp_path / "fits")[0].where == "attribute noise"
    tsl.fit_store(*fit, overwrite=True)
    assert tree(tmp_path / "fits") == whole
