"""Numbers stored in the ways of netCDF are refused by name, and decoded by rechunk as xarray decodes them."""

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from tsl_jax.store import InvalidStoreError, StoreError, import_losses, open_losses, rechunk, validate

STEP = np.array([1.0, 10.0, 100.0, 1000.0])
ENCODINGS = {
    "_FillValue": {"_FillValue": np.float32(-9999)},
    "the default of netCDF": {"_FillValue": np.float32(9.96921e36)},
    "missing_value": {"missing_value": np.float32(-1)},
    "both": {"_FillValue": np.float32(-9999), "missing_value": np.float32(-9999)},
    "scale_factor": {"dtype": "f4", "scale_factor": 0.5},
    "add_offset": {"dtype": "f4", "add_offset": 1.0},
    "all": {"dtype": "f4", "scale_factor": 0.25, "add_offset": -2.0, "_FillValue": np.float32(-9999)},
}


def losses():
    values = np.random.default_rng(3).uniform(0, 8, (20, 4)).astype("f4")
    values[3, 1:] = values[7] = np.nan
    return values


def write(path, encoding, values=None, **variables):
    values = losses() if values is None else values
    data = xr.Dataset(
        {"losses": (("token", "checkpoint"), values), **variables},
        coords={"step": ("checkpoint", STEP)},
        attrs={"tsl_kind": "losses", "tsl_version": 1},
    )
    data.to_zarr(path, zarr_format=3, encoding=encoding, consolidated=False)
    return path


@pytest.mark.parametrize("name", ENCODINGS)
def test_encoded_losses_are_refused_and_rechunk_decodes_them(name, tmp_path):
    path = write(tmp_path / "a.zarr", {"losses": ENCODINGS[name]})
    with xr.open_zarr(path, consolidated=False) as opened:
        meant = opened.losses.values
    np.testing.assert_allclose(meant, losses(), atol=1e-6)
    (violation, *_) = validate(path)
    assert (violation.where, violation.level) == ("losses", "error")
    for attribute in ENCODINGS[name].keys() - {"dtype"}:
        assert attribute in violation.what
    with pytest.raises(InvalidStoreError, match="tsl rechunk, which decodes it"):
        open_losses(path)
    made = rechunk(path, tmp_path / "b.zarr")
    np.testing.assert_allclose(made.read(), meant, atol=1e-6)
    assert validate(tmp_path / "b.zarr") == []
    assert "losses" not in str([found.where for found in validate(path) if found.level == "error"][1:])


LAYOUTS = {
    "Zarr format 2": {"zarr_format": 2},
    "other order": {"zarr_format": 3},
    "packed": {"zarr_format": 3, "encoding": {"losses": {"dtype": "i2", "scale_factor": 2**-10, "_FillValue": -1}}},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_losses_of_another_layout_are_refused_and_imported_though_they_say_to_be_a_loss_store(name, tmp_path):
    data = xr.Dataset(
        {"losses": (("token", "checkpoint"), losses())},
        coords={"step": ("checkpoint", STEP)},
        attrs={"tsl_kind": "losses", "tsl_version": 1},
    )
    data = data.transpose() if name == "other order" else data
    data.to_zarr(tmp_path / "a.zarr", consolidated=False, **LAYOUTS[name])
    with pytest.raises(InvalidStoreError, match="tsl import"):
        open_losses(tmp_path / "a.zarr")
    made = import_losses(tmp_path / "a.zarr", tmp_path / "b.zarr")
    np.testing.assert_allclose(made.read(), losses(), atol=2**-11 if name == "packed" else 0)
    assert made.axis().tolist() == STEP.tolist()
    assert [found for found in validate(tmp_path / "b.zarr") if found.level == "error"] == []


def test_encoded_coordinates_are_refused_and_decoded(tmp_path):
    frequency = ("token", np.linspace(0, 1, 20))
    packed = {
        "step": {"dtype": "i4", "scale_factor": 0.5, "_FillValue": -1},
        "frequency": {"dtype": "i2", "scale_factor": 0.001, "_FillValue": -1},
    }
    path = write(tmp_path / "a.zarr", packed, frequency=frequency)
    assert {found.where for found in validate(path) if found.level == "error"} == {"step", "frequency"}
    made = rechunk(path, tmp_path / "b.zarr")
    np.testing.assert_array_equal(made.axis(), STEP)
    np.testing.assert_allclose(made.read_coordinate("frequency"), frequency[1], atol=0.0006)
    assert "scale_factor" not in made.token_coordinates["frequency"].attrs


def test_plain_numbers_with_attributes_are_plain(tmp_path):
    """xarray says of every array of floats that NaN means missing."""
    code = ("token", np.arange(20) - 1)
    path = write(tmp_path / "a.zarr", {"code": {"_FillValue": -1}}, code=code)
    assert zarr.open_array(path / "step", mode="r").attrs["_FillValue"] == "AAAAAAAA+H8="
    np.testing.assert_array_equal(open_losses(path, missing_chunks="as-nan").read(), losses())
    assert open_losses(path).read_coordinate("code")[0] == -1  # integers are codes, of which one may mean "none"


def test_one_array_a_checkpoint_is_decoded(tmp_path):
    values = losses()
    data = xr.Dataset({f"step_{10**at}": ("token", values[:, at]) for at in range(4)})
    encoding = {"_FillValue": np.float32(-9999), "dtype": "f4", "scale_factor": 0.5}
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, encoding=dict.fromkeys(data, encoding), consolidated=False)
    made = import_losses(tmp_path / "a.zarr", tmp_path / "b.zarr")
    np.testing.assert_array_equal(made.read(), values)


@pytest.mark.parametrize("said", ["much", [1, "x"], {}, None])
def test_attributes_that_are_no_numbers_are_named(said):
    group = zarr.create_group(MemoryStore(), attributes={"tsl_kind": "losses", "tsl_version": 1})
    array = group.create_array("losses", data=losses(), fill_value=np.nan, dimension_names=("token", "checkpoint"))
    group.create_array("step", data=STEP, dimension_names=("checkpoint",))
    array.attrs["_FillValue"] = said
    with pytest.raises(StoreError, match=r"_FillValue.*are no numbers"):
        open_losses(group)
