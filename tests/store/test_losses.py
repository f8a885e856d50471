"""Loss stores: written, opened from everywhere Zarr can reach, and refused with every reason at once."""

import builtins
import shutil
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore, MemoryStore, ObjectStore, StorePath, ZipStore

from tsl_jax.store import (
    ChunkError,
    InvalidStoreError,
    StoreError,
    StoreNotFoundError,
    create_losses,
    open_losses,
    validate,
)

STEPS = [0, 10, 100, 1000]


def some_losses(tokens=10, dtype="float16"):
    values = np.arange(tokens * 4).reshape(tokens, 4).astype(dtype)
    values[::3, 1] = np.nan
    return values


def write(store, tokens=10, **options):
    return create_losses(
        store,
        some_losses(tokens),
        checkpoints={"step": STEPS, "tokens_seen": np.multiply(STEPS, 4096)},
        tokens={"domain": np.arange(tokens) % 3, "position": np.arange(tokens)},
        attributes={"domains": ["a", "b", "c"]},
        **options,
    )


def check_content(opened):
    np.testing.assert_array_equal(opened.read(), some_losses())
    np.testing.assert_array_equal(opened.read(slice(3, 7)), some_losses()[3:7])
    np.testing.assert_array_equal(opened.read_coordinate("domain", slice(2, 5)), [2, 0, 1])
    assert opened.axis("tokens_seen").tolist() == [0.0, 40960.0, 409600.0, 4096000.0]
    assert opened.axes == ("step", "tokens_seen")
    assert (opened.num_tokens, opened.num_checkpoints) == (10, 4)
    assert set(opened.token_coordinates) == {"domain", "position"}
    assert opened.attributes["domains"] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["path", "url", "zip", "group", "store_path", "local", "memory", "obstore"])
def test_what_is_written_is_read_from_every_kind_of_store(kind, tmp_path):
    path = tmp_path / "a b" / "losses.zarr"
    if kind == "memory":
        source = MemoryStore()
    elif kind == "obstore":
        source = ObjectStore(pytest.importorskip("obstore").store.MemoryStore())
    elif kind == "store_path":
        source = StorePath(MemoryStore(), "runs/1")
    else:
        source = path
    write(source)
    if kind == "url":
        source = path.as_uri()
    elif kind == "group":
        source = zarr.open_group(path, mode="r")
    elif kind == "local":
        source = LocalStore(path)
    elif kind == "zip":
        source = tmp_path / "losses.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in sorted(path.rglob("*")):
                archive.write(file, file.relative_to(path))
    check_content(open_losses(source))
    assert validate(source) == []


def test_a_url_of_fsspec_is_opened():
    pytest.importorskip("fsspec")
    write("memory://tsl-test/losses.zarr")
    check_content(open_losses("memory://tsl-test/losses.zarr"))


@pytest.mark.parametrize("url", ["s3://bucket/losses.zarr", "gs://bucket/x", "https://host/x"])
def test_a_missing_package_for_object_stores_is_named(url, monkeypatch):
    real = builtins.__import__

    def without_obstore(name, *args, **kwargs):
        if name.startswith("obstore"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_obstore)
    with pytest.raises(StoreError, match=r"tsl_jax\[cloud\]"):
        open_losses(url)


def test_an_object_store_url_is_understood():
    pytest.importorskip("obstore")
    from tsl_jax.store import locate

    location = locate("s3://bucket/losses.zarr")
    assert isinstance(location.store, ObjectStore)
    assert location.store.read_only


@given(
    tokens=st.integers(0, 70),
    chunk=st.integers(1, 40),
    shards=st.integers(1, 3),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
@settings(max_examples=25, deadline=None)
def test_any_shape_and_layout_comes_back(tokens, chunk, shards, dtype):
    values = some_losses(tokens, dtype)
    opened = create_losses(
        MemoryStore(),
        values,
        checkpoints={"step": STEPS},
        chunk_tokens=chunk,
        shard_tokens=chunk * shards,
    )
    assert opened.losses.dtype == dtype
    assert (opened.chunk_tokens, opened.shard_tokens) == (chunk, chunk * shards)
    np.testing.assert_array_equal(opened.read(), values)


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_an_empty_store_is_filled_by_slices(kind, tmp_path):
    store = MemoryStore() if kind == "memory" else tmp_path / "losses.zarr"
    made = create_losses(store, (10, 4), checkpoints={"step": STEPS}, dtype="float32", chunk_tokens=5)
    made.losses[5:] = np.ones((5, 4))
    with pytest.raises(ChunkError, match=r"tokens 0 to 4: not stored in its shard.*as-nan"):
        open_losses(store).read()
    values = open_losses(store, missing_chunks="as-nan").read()
    assert np.isnan(values[:5]).all()
    assert (values[5:] == 1).all()
    made.losses[:5] = np.nan  # said, not left out
    assert np.isnan(open_losses(store).read(slice(5))).all()


@pytest.mark.parametrize("kind", [jnp.asarray, np.ndarray.tolist])
def test_losses_may_be_any_array(kind):
    values = some_losses(dtype="float32")
    made = create_losses(MemoryStore(), kind(values), checkpoints={"step": kind(np.array(STEPS))}, dtype="float32")
    np.testing.assert_array_equal(made.read(), values)


def test_xarray_opens_it_with_coordinates(tmp_path):
    write(tmp_path / "losses.zarr")
    with xr.open_zarr(tmp_path / "losses.zarr") as data:
        assert data.losses.dims == ("token", "checkpoint")
        assert {"step", "tokens_seen", "domain", "position"} <= set(data.coords)
        np.testing.assert_array_equal(data.losses.values, some_losses())


def test_what_is_there_is_replaced_only_when_asked(tmp_path):
    write(tmp_path / "losses.zarr")
    with pytest.raises(StoreError, match="overwrite=True"):
        write(tmp_path / "losses.zarr")
    assert write(tmp_path / "losses.zarr", tokens=3, overwrite=True).num_tokens == 3
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="not losses"):
        write(tmp_path / "other.zarr", overwrite=True)


def test_a_zip_file_is_not_written(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "losses.zip")
    with pytest.raises(StoreNotFoundError):
        open_losses(tmp_path / "losses.zip")


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ({"losses": np.ones((3, 4), int)}, "dtype int64"),
        ({"losses": np.ones((3, 4), complex)}, "dtype complex128"),
        ({"losses": np.ones(3)}, "shape"),
        ({"losses": (3, 4.5)}, "shape"),
        ({"losses": (-3, 4)}, "shape"),
        ({"checkpoints": {}}, "'step'"),
        ({"checkpoints": {"step": [0, 2, 2, 3]}}, "increasing"),
        ({"checkpoints": {"step": [0, 1, 2]}}, "expected 4 numbers"),
        ({"tokens": {"domain": [1]}}, "expected 3 numbers"),
        ({"tokens": {"domain": ["a", "b", "c"]}}, "numbers"),
        ({"chunk_tokens": 2, "shard_tokens": 3}, "multiple"),
    ],
)
def test_bad_arguments_raise_before_anything_is_written(what, match):
    store = MemoryStore()
    arguments = {"losses": np.ones((3, 4), "float32"), "checkpoints": {"step": STEPS}} | what
    with pytest.raises(StoreError, match=match):
        create_losses(store, **arguments)
    assert not store._store_dict


def test_every_violation_is_named_at_once():
    store = MemoryStore()
    group = zarr.create_group(store, attributes={"tsl_kind": "losses", "tsl_version": 2})
    group.create_array("losses", data=np.ones((6, 4), "int32"), dimension_names=("token", "time"))
    group.create_array("step", data=np.array([0, 5, 5, 9]), dimension_names=("checkpoint",))
    group.create_array("lr_sum", data=np.array([0.0, 1, 0.5, 2]), dimension_names=("checkpoint",))
    group.create_array("domain", data=np.arange(5), dimension_names=("token",))
    with pytest.raises(InvalidStoreError) as raised:
        open_losses(store)
    assert isinstance(raised.value, ValueError)
    errors = raised.value.violations
    assert errors == tuple(v for v in validate(store) if v.level == "error")
    assert {violation.where for violation in errors} == {
        "attribute tsl_version",
        "losses",
        "step",
        "lr_sum",
        "domain",
    }
    for violation in errors:
        assert violation.what
        assert violation.expected
        assert violation.cure
        assert str(violation) in str(raised.value)
    assert "Upgrade" in str(raised.value)
    assert "5 after 5" in str(raised.value)
    assert "dtype int32" in str(raised.value)


def test_notes_do_not_keep_a_store_from_opening():
    store = MemoryStore()
    group = zarr.create_group(store, attributes={"tsl_kind": "losses", "tsl_version": 1})
    group.create_array(
        "losses", data=np.ones((6, 4), "float32"), chunks=(6, 1), dimension_names=("token", "checkpoint")
    )
    group.create_array("step", data=np.arange(4), dimension_names=("checkpoint",))
    group.create_array("lr_sum", data=np.array([0.0, 0, 1, 2]), dimension_names=("checkpoint",))
    group.create_array("learning_rate", data=np.array([3.0, 2, 1, 0]), dimension_names=("checkpoint",))
    notes = validate(store)
    assert {note.level for note in notes} == {"note"}
    assert any("split trajectories" in note.what for note in notes)
    assert any("fill value" in note.what for note in notes)
    opened = open_losses(store)
    assert opened.axes == ("step",)
    for name in ("lr_sum", "learning_rate", "nonsense"):
        with pytest.raises(StoreError, match="expected one of 'step'"):
            opened.axis(name)


@pytest.mark.parametrize("kind", ["nothing", "array", "file", "wrong_kind", "not_zip"])
def test_what_is_no_loss_store_is_refused(kind, tmp_path):
    path = tmp_path / ("x.zip" if kind == "not_zip" else "x")
    if kind == "array":
        zarr.create_array(path, shape=(3,), dtype="f4")
    elif kind in ("file", "not_zip"):
        path.write_text("hello")
    elif kind == "wrong_kind":
        zarr.create_group(path, attributes={"tsl_kind": "fits", "tsl_version": 1})
    with pytest.raises(StoreError):
        open_losses(path)
    with pytest.raises(TypeError):
        open_losses(3)


def test_a_store_of_another_kind_is_said_to_be_one(tmp_path):
    zarr.create_group(tmp_path / "fits", attributes={"tsl_kind": "fits", "tsl_version": 1})
    with pytest.raises(InvalidStoreError, match="This is a store of fits") as raised:
        open_losses(tmp_path / "fits")
    assert [violation.where for violation in raised.value.violations] == ["attribute tsl_kind"]


def test_a_file_is_said_to_be_one(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(StoreNotFoundError, match=r"notes\.txt: is a file, expected a directory"):
        open_losses(tmp_path / "notes.txt")


def test_the_real_losses_open(real_lm, tmp_path):
    opened = open_losses(real_lm)
    assert (opened.num_tokens, opened.num_checkpoints) == (98304, 101)
    assert opened.axes == ("lr_sum", "step", "tokens_seen")
    assert all(violation.level == "note" for violation in validate(real_lm))
    assert opened.read(slice(70_000, 70_004)).shape == (4, 101)


def test_a_closed_zip_store_is_opened_by_zarr_itself(tmp_path):
    write(tmp_path / "losses.zarr")
    shutil.make_archive(str(tmp_path / "losses"), "zip", tmp_path / "losses.zarr")
    check_content(open_losses(ZipStore(tmp_path / "losses.zip", mode="r")))


@pytest.mark.parametrize("where", ["zarr.json", "losses/zarr.json", "step/c/0", "tokens_seen/zarr.json"])
def test_broken_metadata_and_axes_are_named(where, tmp_path):
    write(tmp_path / "losses.zarr")
    (tmp_path / "losses.zarr" / where).write_bytes(b"{ nonsense")
    with pytest.raises(StoreError, match=r"(?s)losses\.zarr.*(cannot be opened|cannot be read)"):
        open_losses(tmp_path / "losses.zarr")


def test_any_increasing_coordinate_can_be_the_axis():
    """Mean losses over positions, one row a checkpoint, go the same way as losses of tokens."""
    store = MemoryStore()
    opened = create_losses(store, np.ones((3, 4), "float32"), checkpoints={"position": [1, 2, 3, 4]})
    assert opened.axes == ("position",)
    assert validate(store) == []
    zarr.open_group(store)["position"][1] = 9
    assert [violation.where for violation in validate(store)] == ["step"]
