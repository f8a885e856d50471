"""Sources that once were read wrongly, or failed without a word of what is wrong."""

import gzip
import io
import json
import zipfile

import numpy as np
import pandas
import pytest

from tsl_jax import import_losses
from tsl_jax.store import StoreError, rechunk
from tsl_jax.store.imports import tables
from tsl_jax.store.imports.steps import step_in

LOSSES = np.linspace(8, 2, 12).reshape(3, 4).astype("float32")
LONG = pandas.DataFrame({"token": [0, 0, 1, 1], "step": [0, 10, 0, 10], "loss": [5.0, 4, 3, 2]})
STEPS = [0, 10, 100, 1000]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("100", 100),
        ("1e3", 1000),
        ("step_1e3", 1000),
        ("losses-step001000", 1000),
        ("model_2_epoch_7", 7),
        ("5.13", None),
        ("1e400", None),
        ("step_" + "9" * 5000, None),
        ("none", None),
    ],
)
def test_a_step_is_the_whole_number_in_a_name(name, step):
    assert step_in(name) == step


def test_a_number_in_the_name_of_a_wide_table_is_no_step(tmp_path):
    (tmp_path / "losses_v2.csv").write_text("token,step_0,step_1e3\n0,5,4\n1,3,2\n")
    store = import_losses(tmp_path / "losses_v2.csv", tmp_path / "out")
    np.testing.assert_array_equal(store.axis(), [0, 1000])
    np.testing.assert_array_equal(store.read(slice(0, 2)), [[5, 4], [3, 2]])


def test_fractions_of_steps_are_kept(tmp_path):
    store = import_losses({1.5: LOSSES[:, 0], 2: LOSSES[:, 1]}, tmp_path / "a")
    np.testing.assert_array_equal(store.axis(), [1.5, 2])
    np.savez(tmp_path / "one.npz", losses=LOSSES[:, 0], step=np.array(1.5))
    np.testing.assert_array_equal(import_losses(tmp_path / "one.npz", tmp_path / "b").axis(), [1.5])


def test_columns_of_a_data_frame_are_taken_for_tokens(tmp_path):
    tokens = pandas.DataFrame({"domain": ["a", "b", "a"], "position": [0, 1, 2]})
    store = import_losses(LOSSES, tmp_path / "out", steps=STEPS, tokens=tokens)
    assert store.attributes["domains"] == ["a", "b"]
    np.testing.assert_array_equal(store.read_coordinate("domain", slice(0, 3)), [0, 1, 0])


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ({np.nan: LOSSES[:, 0], 1: LOSSES[:, 1]}, {}, r"a step: got nan, expected a finite number"),
        ({np.inf: LOSSES[:, 0], 1: LOSSES[:, 1]}, {}, r"a step: got inf"),
        (LOSSES[:0], {"steps": STEPS}, r"holds no losses: 0 tokens at 4 checkpoints"),
        (LOSSES, {"steps": STEPS, "attributes": [1]}, r"attributes: got list, expected values by name"),
        (LOSSES, {"steps": STEPS, "dtype": "nonsense"}, r"dtype: got nonsense, expected float16"),
        (LOSSES, {"steps": STEPS, "tokens": {"domain": ["a", None, "b"]}}, r"'domain' has an empty cell"),
        (LOSSES, {"steps": STEPS, "tokens": {"domain": pandas.Categorical(["a", None, "b"])}}, r"an empty cell"),
        (LOSSES * 1e5, {"steps": STEPS, "dtype": "float16"}, r"token 0 has 800000 at checkpoint 0, more than float16"),
        (LONG[:0], {}, r"has no rows"),
        (LONG.assign(step=pandas.to_datetime(LONG["step"])), {}, r"'step' has dtype datetime64.*subtract a start"),
        (LONG.assign(loss=[True, False, True, True]), {}, r"'loss' has dtype bool"),
        (LONG.assign(loss=[1j] * 4), {}, r"'loss' has dtype complex128.*real part"),
        (
            LONG.assign(step=[0, 2.0**70] * 2),
            {},
            r"'step' holds 1\.18.*expected whole numbers in every row, below 2\^63",
        ),
        (LONG.assign(token=np.array([2**63, 2**63, 1, 1], "uint64")), {}, r"'token' holds 9223372036854775808"),
    ],
)
def test_objects_are_refused(source, options, said, tmp_path):
    with pytest.raises(StoreError, match=said):
        import_losses(source, tmp_path / "out", **options)


def claimed(path, shape, method=zipfile.ZIP_DEFLATED, fortran=False):
    """A file whose array of losses claims to be of another size than it has."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": fortran, "shape": shape})
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("losses.npy", header.getvalue() + LOSSES.tobytes())
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize(("shape", "fortran"), [((10**15, 4), False), ((10**15, 4), True), ((-3, 4), False)])
def test_arrays_that_claim_what_they_do_not_hold(method, shape, fortran, tmp_path):
    path = claimed(tmp_path / "a.npz", shape, method, fortran)
    with pytest.raises(StoreError, match=r"\[losses\]: is said to have shape .* and has 48; the file is damaged"):
        import_losses(path, tmp_path / "out", steps=STEPS)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"5.13,4.2\n5.0,4.1\n", r"first line has 5\.13 where the step of a column is expected.*a line with"),
        ("a.csv", b"token,step,loss\n0,0,5,\n0,1,4,\n", r"rows have more cells than its header"),
        ("a.csv", b"1," * 2**23, r"first line has more than 16,777,216 characters"),
        ("a.zip", b"", r"cannot be opened \(BadZipFile"),
    ],
)
def test_files_are_refused(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=said):
        import_losses(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv.gz", "a.jsonl"])
def test_a_cell_that_fills_the_memory_is_refused_before_it_does(name, tmp_path, monkeypatch):
    """A few kilobytes of gzip can hold a cell of gigabytes, with line breaks in it too."""
    monkeypatch.setattr(tables, "_CELL_BYTES", 2**20)
    taken, readinto = [], tables._BoundedBytes.readinto
    monkeypatch.setattr(tables._BoundedBytes, "readinto", lambda *it: taken.append(readinto(*it)) or taken[-1])
    cell = ("x" * 1000 + "\n") * 2**15 if name != "a.jsonl" else "x" * 2**25
    between = "\t" if "tsv" in name else ","
    rows = [("token", "step", "loss"), (0, 0, "5.0"), (0, 10, f'"{cell}"'), (1, 0, "4.0")]
    text = "\n".join(between.join(map(str, row)) for row in rows)
    if name == "a.jsonl":
        text = "\n".join(json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:])
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    with pytest.raises(StoreError, match=r"some rows take more than 1,048,576 bytes.*leave out that column"):
        import_losses(tmp_path / name, tmp_path / "out")
    assert sum(taken) < 2**21 < len(text)
    assert not (tmp_path / "out").exists()


def test_the_bound_is_of_rows_read_together_not_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_CELL_BYTES", 2**18)
    monkeypatch.setattr(tables, "_CELLS", 2**9)
    wide = pandas.DataFrame(np.linspace(8, 2, 2**16).reshape(-1, 4), columns=["0", "1", "10", "100"])
    wide.to_csv(tmp_path / "a.csv.gz", index=False)
    store = import_losses(tmp_path / "a.csv.gz", tmp_path / "out")
    np.testing.assert_array_equal(store.read(), wide.to_numpy("float32"))
    wide.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    store = import_losses(tmp_path / "a.jsonl", tmp_path / "of_lines")
    np.testing.assert_allclose(store.read(), wide.to_numpy("float32"), rtol=1e-6)


def test_arrays_of_python_objects_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", losses=np.array([1.0, None]))
    with pytest.raises(StoreError, match="array of Python objects"):
        import_losses(tmp_path / "a.npz", tmp_path / "out")


@pytest.mark.parametrize("path", ["/dev/null", "x" * 300 + ".npy"])
def test_places_that_are_no_files(path, tmp_path):
    with pytest.raises(StoreError, match=r"neither a file nor a folder|cannot be looked at"):
        import_losses(path, tmp_path / "out")


def test_no_loss_becomes_infinite_when_a_store_is_written_again(tmp_path):
    wide = import_losses(LOSSES.astype("float64") * 1e5, tmp_path / "wide", steps=STEPS)
    with pytest.raises(StoreError, match="more than float16 holds"):
        rechunk(wide, tmp_path / "narrow", dtype="float16")
    infinite = import_losses(np.full((2, 4), np.inf), tmp_path / "infinite", steps=STEPS)
    assert np.isinf(rechunk(infinite, tmp_path / "narrow_too", dtype="float16").read(slice(0, 2))).all()
