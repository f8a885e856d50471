"""Losses of every kind of source are in the store as they were, and what is no losses is refused with the way out."""

import json

import jax.numpy as jnp
import numpy as np
import pandas
import pytest
import xarray
import zarr

from tests.kills import Killed, tree
from tests.needed import missing
from tsl_jax import import_losses
from tsl_jax.store import StoreError, UnfinishedLosses, create_losses, open_losses, validate
from tsl_jax.store.importing import LossImportWarning

pytestmark = pytest.mark.filterwarnings("ignore::tsl_jax.store.importing.LossImportWarning")

TOKENS, WIDTH, STEPS = 12, 4, (0, 20, 100, 900)
LOSSES = np.random.default_rng(0).normal(4, 1, (TOKENS, len(STEPS))).astype("float32")
LOSSES[3, 1] = np.nan
IDS = np.arange(TOKENS, dtype="int32") * 7 % 5
NAMED = [f"step_{step}" for step in STEPS]
WIDE = pandas.DataFrame(LOSSES, columns=NAMED)
LONG = pandas.DataFrame(
    {
        "token": np.repeat(np.arange(TOKENS), len(STEPS)),
        "step": np.tile(STEPS, TOKENS),
        "loss": LOSSES.reshape(-1),
        "token_id": np.repeat(IDS, len(STEPS)),
        "domain": np.repeat([f"d{i % 3}" for i in range(TOKENS)], len(STEPS)),
    }
)


def torch_of():
    try:
        import torch
    except ImportError:
        missing("torch is not installed")
    return torch


def npy(path):
    np.save(path / "losses.npy", LOSSES)
    return path / "losses.npy", {"steps": STEPS}


def npy_by_columns(path):
    np.save(path / "losses.npy", np.asfortranarray(LOSSES))
    np.savetxt(path / "steps.txt", STEPS)
    return path / "losses.npy", {"steps": path / "steps.txt"}


def npy_big_endian(path):
    np.save(path / "losses.npy", LOSSES.astype(">f4"))
    return str(path / "losses.npy"), {"steps": "0,20,100,900"}


def npy_transposed(path):
    np.save(path / "losses.npy", LOSSES.T.copy())
    return path / "losses.npy", {"steps": STEPS, "transpose": True}


def npz(path):
    np.savez(path / "a.npz", losses=LOSSES, step=STEPS, token_id=IDS, tokens_seen=np.array(STEPS) * 64)
    return path / "a.npz", {}


def npz_compressed(path):
    np.savez_compressed(path / "a.npz", nll=LOSSES, steps=STEPS, mask=np.ones(3))
    return path / "a.npz", {}


def sequences(path):
    np.save(path / "losses.npy", LOSSES.reshape(-1, WIDTH, len(STEPS)))
    return path / "losses.npy", {"steps": STEPS}


def folder_of_npy(path):
    (path / "run7").mkdir()
    for at, step in enumerate(STEPS):
        np.save(path / "run7" / f"eval2-losses-{step:06}.npy", LOSSES[:, at])
    np.save(path / "run7/token_id.npy", IDS)
    return path / "run7", {}


def files_of_npy(path):
    folder_of_npy(path)
    return sorted((path / "run7").glob("eval2*.npy"), reverse=True), {}


def folder_of_matrix(path):
    (path / "run").mkdir()
    for name, array in {"losses": LOSSES, "steps": STEPS, "token_id": IDS}.items():
        np.save(path / "run" / f"{name}.npy", array)
    return path / "run", {}


def folder_of_npz(path):
    (path / "run").mkdir()
    for at, step in enumerate(STEPS):
        np.savez_compressed(path / "run" / f"ckpt{step}.npz", losses=LOSSES[:, at], token_id=IDS, step=step)
    return path / "run", {}


def folder_of_sequences(path):
    (path / "run").mkdir()
    for at, step in enumerate(STEPS):
        np.savez(path / "run" / f"{step}.npz", losses=LOSSES[:, at].reshape(-1, WIDTH), ids=IDS.reshape(-1, WIDTH))
    return path / "run", {}


def folder_of_pt(path):
    torch = torch_of()
    (path / "run").mkdir()
    for at, step in enumerate(STEPS):
        held = {"losses": torch.tensor(LOSSES[:, at]), "token_id": torch.tensor(IDS), "step": step, "note": "x"}
        torch.save(held, path / "run" / f"{at}.pt")
    return path / "run", {}


def tensor_in_a_file(path):
    torch_of().save(torch_of().tensor(LOSSES), path / "losses.pt")
    return path / "losses.pt", {"steps": STEPS}


def folder_of_safetensors(path):
    save = pytest.importorskip("safetensors.numpy").save_file
    (path / "run").mkdir()
    for at, step in enumerate(STEPS):
        save({"losses": LOSSES[:, at].copy(), "token_id": IDS}, path / "run" / f"step{step}.safetensors")
    return path / "run", {}


def folders(path):
    for at, step in enumerate(STEPS):
        (path / f"run/step{step}").mkdir(parents=True)
        np.save(path / f"run/step{step}/losses.npy", LOSSES[:, at])
        np.save(path / f"run/step{step}/weights.npy", np.ones(3))
    (path / "run/logs").mkdir()
    return path / "run", {}


def zarr_array(path):
    zarr.create_array(path / "a.zarr", data=LOSSES, chunks=(5, 3))
    return path / "a.zarr", {"steps": STEPS}


def zarr_arrays(path):
    group = zarr.create_group(path / "a.zarr", attributes={"title": "a run"})
    for name, array in {**dict(zip(NAMED, LOSSES.T, strict=True)), "token_id": IDS}.items():
        group.create_array(name, data=array, chunks=(5,))
    return path / "a.zarr", {}


def zarr_groups(path):
    for at, step in enumerate(STEPS):
        group = zarr.open_group(path / "a.zarr", mode="a").create_group(f"step{step}")
        group.create_array("losses", data=LOSSES[:, at])
    return path / "a.zarr", {}


def folder_of_zarr(path):
    for at, step in enumerate(STEPS):
        zarr.create_array(path / f"run/step_{step}.zarr", data=LOSSES[:, at])
    return path / "run", {}


def zarr_of_urls(path):
    folder_of_zarr(path)
    return [f"file://{path}/run/step_{step}.zarr" for step in STEPS[::-1]], {}


def zarr_of_xarray(path):
    array = xarray.DataArray(LOSSES.T, dims=("step", "token"), coords={"step": list(STEPS)}, name="loss")
    array.to_dataset().to_zarr(path / "a.zarr", zarr_format=3, consolidated=False)
    return path / "a.zarr", {}


def wide_csv(path):
    WIDE.assign(token_id=IDS, text="a, b").to_csv(path / "a.csv")
    return path / "a.csv", {}


def wide_tsv(path):
    WIDE.rename(columns=dict(zip(NAMED, map(str, STEPS), strict=True)))[[str(s) for s in STEPS[::-1]]].to_csv(
        path / "a.tsv", sep="\t", index=False
    )
    return path / "a.tsv", {}


def wide_parquet(path):
    WIDE.to_parquet(path / "a.parquet")
    return path / "a.parquet", {}


def long_csv(path):
    LONG.sample(frac=1, random_state=1).to_csv(path / "a.csv.gz", index=False)
    return path / "a.csv.gz", {}


def long_parquet(path):
    LONG[LONG.loss.notna()].sort_values(["step", "token"]).to_parquet(path / "a.parquet")
    return path / "a.parquet", {}


def long_of_sequences(path):
    frame = LONG.assign(sequence=LONG.token // WIDTH, position=LONG.token % WIDTH, nll=LONG.loss)
    return frame[["sequence", "position", "step", "nll"]], {}


def table_of_each_checkpoint(path):
    (path / "run").mkdir()
    for at, step in enumerate(STEPS):
        frame = pandas.DataFrame({"loss": LOSSES[:, at], "token_id": IDS})
        frame.to_parquet(path / "run" / f"step{step}.parquet")
    return path / "run", {}


def data_array(path):
    coords = {"step": list(STEPS), "token_id": ("token", IDS), "tokens_seen": ("step", [1, 2, 3, 4])}
    return xarray.DataArray(LOSSES.T, dims=("step", "token"), coords=coords), {}


def data_set(path):
    dims = ("sequence", "position", "checkpoint")
    variables = {"loss": (dims, LOSSES.reshape(-1, WIDTH, len(STEPS))), "step": ("checkpoint", list(STEPS))}
    variables["ids"] = (("sequence", "position"), IDS.reshape(-1, WIDTH))
    return xarray.Dataset(variables, coords={"domain": ("sequence", [0, 1, 0])}), {}


#: Ways in: from a folder to what is imported, and the options that it needs.
WAYS = [
    *(npy, npy_by_columns, npy_big_endian, npy_transposed, npz, npz_compressed, sequences),
    *(folder_of_npy, files_of_npy, folder_of_matrix, folder_of_npz, folder_of_sequences, folder_of_pt),
    *(tensor_in_a_file, folder_of_safetensors, folders),
    *(zarr_array, zarr_arrays, zarr_groups, folder_of_zarr, zarr_of_urls, zarr_of_xarray),
    *(wide_csv, wide_tsv, wide_parquet, long_csv, long_parquet, long_of_sequences, table_of_each_checkpoint),
    *(data_array, data_set),
    lambda path: (LOSSES, {"steps": STEPS}),
    lambda path: (jnp.asarray(LOSSES), {"steps": {"step": STEPS, "lr_sum": [1.0, 2.0, 3.0, 4.0]}}),
    lambda path: (torch_of().tensor(LOSSES, requires_grad=True), {"steps": STEPS}),
    lambda path: (LOSSES.tolist(), {"steps": STEPS}),
    lambda path: (list(LOSSES.T), {"steps": STEPS}),
    lambda path: (dict(zip(STEPS, map(jnp.asarray, LOSSES.T), strict=True)), {}),
    lambda path: ({"losses": LOSSES, "step": STEPS, "token_id": IDS}, {}),
    lambda path: (np.ma.masked_array(np.nan_to_num(LOSSES, nan=9.0), np.isnan(LOSSES)), {"steps": STEPS}),
    lambda path: (WIDE, {}),
    lambda path: (LONG.set_index(["token", "step"]), {}),
]
ROWS = {"chunk_tokens": 2, "shard_tokens": 4, "memory": 2 * 4 * 4 * len(STEPS)}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: getattr(way, "__name__", "object"))
@pytest.mark.filterwarnings("ignore:.*zarr v3.*")
def test_losses_are_what_they_were(way, tmp_path):
    source, options = way(tmp_path)
    found = import_losses(source, tmp_path / "out.zarr", **options, **ROWS)
    text = str(source).endswith(("csv", "tsv", "gz")) or (isinstance(source, list) and isinstance(source[0], list))
    np.testing.assert_allclose(found.read(), LOSSES, rtol=1e-6 if text else 0)
    assert found.axis().tolist() == list(STEPS)
    assert found.losses.chunks == (2, len(STEPS))
    assert validate(tmp_path / "out.zarr") == []
    held = {name: found.read_coordinate(name) for name in found.token_coordinates}
    for name in {"token_id", "ids"} & set(held):
        np.testing.assert_array_equal(held[name], IDS)
    if "position" in held:
        np.testing.assert_array_equal(held["position"], np.arange(TOKENS) % WIDTH)
        np.testing.assert_array_equal(held["sequence"], np.arange(TOKENS) // WIDTH)
    again = tree(tmp_path / "out.zarr")
    import_losses(source, tmp_path / "out.zarr", **options, **ROWS)
    assert tree(tmp_path / "out.zarr") == again


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("library", ["numpy", "jax", "torch", "npy", "pt", "safetensors"])
def test_every_dtype_is_exact(kind, library, tmp_path):
    losses = jnp.asarray(LOSSES, kind) if kind != "float64" else LOSSES.astype("float64")
    if library in ("torch", "pt", "safetensors"):
        torch = torch_of()
        source = torch.tensor(LOSSES).to(getattr(torch, kind))
        if library == "pt":
            torch.save(source, tmp_path / "a.pt")
            source = tmp_path / "a.pt"
        if library == "safetensors":
            pytest.importorskip("safetensors.torch").save_file({"losses": source}, tmp_path / "a.safetensors")
            source = tmp_path / "a.safetensors"
    elif library == "npy":
        if kind == "bfloat16":
            return  # NumPy saves it as bytes without a name
        np.save(tmp_path / "a.npy", np.asarray(losses))
        source = tmp_path / "a.npy"
    else:
        source = np.asarray(losses) if library == "numpy" else losses
    found = import_losses(source, zarr.storage.MemoryStore(), steps=STEPS)
    assert found.losses.dtype == ("float32" if kind == "bfloat16" else kind)
    np.testing.assert_array_equal(found.read(), np.asarray(losses).astype(found.losses.dtype))


def test_tokens_of_a_file_and_text_that_becomes_numbers(tmp_path):
    frame = pandas.DataFrame({"domain": ["web", "code", "web"] * 4, "position": range(TOKENS)})
    frame.to_csv(tmp_path / "tokens.csv")
    found = import_losses(LOSSES, tmp_path / "out", steps=STEPS, tokens=tmp_path / "tokens.csv")
    assert found.attributes["domains"] == ["web", "code"]
    assert found.read_coordinate("domain").tolist() == [0, 1, 0] * 4
    assert found.read_coordinate("position").tolist() == list(range(TOKENS))
    found = import_losses(LONG, tmp_path / "long")
    assert found.attributes["domains"] == ["d0", "d1", "d2"]
    assert found.read_coordinate("domain").tolist() == [0, 1, 2] * 4


def test_steps_with_other_coordinates(tmp_path):
    pandas.DataFrame({"global_step": STEPS, "tokens_seen": np.array(STEPS) * 8}).to_csv(tmp_path / "a.csv", index=False)
    found = import_losses(LOSSES, tmp_path / "out", steps=str(tmp_path / "a.csv"))
    assert found.axes == ("step", "tokens_seen")
    (tmp_path / "a.json").write_text(json.dumps(STEPS))
    assert import_losses(LOSSES, tmp_path / "b", steps=str(tmp_path / "a.json")).axis().tolist() == list(STEPS)


def wrong_files(path):
    np.save(path / "losses.npy", LOSSES)
    np.save(path / "object.npy", np.array([1.0, None]), allow_pickle=True)
    np.save(path / "ids.npy", np.ones((3, 4), int))
    (path / "words.npy").write_bytes(b"words")
    (path / "empty.csv").touch()
    (path / "curve.csv").write_text("step,loss\n1,5\n2,4\n")
    (path / "bad.csv").write_text("step_1,step_2\n1,x\n")
    (path / "twice.csv").write_text("token,step,loss\n1,5,2\n1,5,3\n")
    (path / "domains.csv").write_text("token,step,loss,domain\n1,5,2,a\n1,6,3,b\n")
    (path / "transposed.csv").write_text("step,token_0,token_1\n1,5,2\n2,5,3\n")
    (path / "notes.txt").write_text("a")
    (path / "nothing").mkdir()
    (path / "uneven").mkdir()
    (path / "same").mkdir()
    for name in ("uneven/a1", "same/b1"):
        np.save(path / f"{name}.npy", np.ones(3))
    np.save(path / "uneven/a2.npy", np.ones(4))
    np.save(path / "same/a1.npy", np.ones(3))
    (path / "other").mkdir()
    for step in (1, 2):
        np.savez(path / f"other/step{step}.npz", losses=np.ones(3), token_id=np.arange(3) * step)
    np.savez(path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    create_losses(path / "store.zarr", LOSSES, checkpoints={"step": STEPS})


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    path = tmp_path_factory.mktemp("wrong")
    wrong_files(path)
    return path


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("losses.npy", {}, r"steps of its 4 checkpoints are not known.*--steps 0,100,1000"),
        ("losses.npy", {"steps": range(12)}, r"seems to be transposed.*--transpose"),
        ("losses.npy", {"steps": STEPS, "transpose": True}, r"seems to be transposed.*leave out --transpose"),
        ("losses.npy", {"steps": range(5)}, r"with 5 steps, expected .*one step for each of the 4"),
        ("losses.npy", {"steps": (3, 2, 1, 0)}, r"value 1 is 2 after 3; expected finite, strictly increasing"),
        ("losses.npy", {"steps": "nowhere.txt"}, r"no such file as nowhere.txt"),
        ("losses.npy", {"steps": STEPS, "tokens": {"a": [1, 2]}}, r"tokens\['a'\]: got shape \(2,\).*expected 12 numb"),
        ("losses.npy", {"steps": STEPS, "tokens": [1, 2]}, r"tokens: got list, expected arrays by name"),
        ("losses.npy", {"steps": STEPS, "array": "x"}, r"has no array 'x' but losses \(12, 4\) float32"),
        ("losses.npy", {"steps": STEPS, "dtype": "int8"}, r"dtype: got int8, expected float16 or"),
        ("object.npy", {}, r"array of Python objects.*dtype float32"),
        ("ids.npy", {"steps": STEPS}, r"got dtype int64, expected losses.*save it as float32"),
        ("words.npy", {}, r"words\.npy: cannot be read"),
        ("empty.csv", {}, r"is empty, expected a header"),
        ("curve.csv", {}, r"expected one that numbers the tokens"),
        ("bad.csv", {}, r"column 'step_2' holds 'x' \(row 0\), expected numbers"),
        ("twice.csv", {"steps": [7]}, r"column step has 1 steps, 5 to 5, and others were given"),
        ("twice.csv", {}, r"token 1 has two losses at step 5"),
        ("domains.csv", {}, r"domain of its token is another than at other steps"),
        ("transposed.csv", {}, r"a row a step and a column a token, transpose it"),
        ("notes.txt", {}, r"notes\.txt: is of no kind that can be imported; expected files \.npy"),
        ("nowhere.npy", {}, r"no such file or folder"),
        ("nothing", {}, r"holds nothing that can be imported"),
        ("uneven", {}, r"a2\.npy: got shape \(4,\), expected \(3,\) as .*a1\.npy has"),
        ("same", {}, r"a1 and b1 have the same step, 1"),
        ("other", {}, r"token_id of token 1 is another than in .*the same tokens in the same order"),
        ("two.npz", {}, r"which array holds the losses\? It has a .*--array NAME"),
        ("store.zarr", {}, r"is a loss store already.*tsl rechunk"),
        (np.ones((3, 2), complex), {"steps": [1, 2]}, r"got dtype complex128, expected losses.*real part"),
        (np.array([["a", "b"]]), {"steps": [1, 2]}, r"got dtype <U1, expected losses.*convert the text"),
        (np.array([[None, 1]]), {"steps": [1, 2]}, r"got dtype object, expected losses.*every row as long"),
        (np.ma.masked_array(np.ones((2, 2), int), [[1, 0], [0, 0]]), {"steps": [1, 2]}, r"got dtype int64"),
        ([[1.0, 2.0], [3.0]], {"steps": [1, 2]}, r"differ in length"),
        ({}, {}, r"got no arrays"),
        (np.ones(4), {"steps": [1, 2]}, r"got shape \(4,\), expected \(tokens, checkpoints\)"),
    ],
)
def test_what_is_wrong_is_said(wrong, tmp_path, source, options, said):
    source = wrong / source if isinstance(source, str) else source
    with pytest.raises(StoreError, match=said):
        import_losses(source, tmp_path / "out", **options)
    with pytest.raises(StoreError):
        open_losses(tmp_path / "out")


def test_swapped_source_and_place_are_said(tmp_path):
    with pytest.raises(StoreError, match=r"source and out seem to be swapped"):
        import_losses(str(tmp_path / "out"), LOSSES, steps=STEPS)


@pytest.mark.parametrize(
    "way", [npy, npz_compressed, folder_of_npy, folder_of_npz, long_csv], ids=lambda way: way.__name__
)
def test_a_killed_import_goes_on_and_ends_the_same(way, tmp_path, kill_at, monkeypatch):
    source, options = way(tmp_path)
    count = kill_at(tmp_path / "whole", 0)
    import_losses(source, tmp_path / "whole", **options, **ROWS)
    changes, whole = count(), tree(tmp_path / "whole")
    for k in (2, changes // 2, changes - 1):
        kill_at(tmp_path / f"out{k}", k)
        with pytest.raises(Killed):
            import_losses(source, tmp_path / f"out{k}", **options, **ROWS)
        kill_at(tmp_path / "nowhere", 0)
        import_losses(source, tmp_path / f"out{k}", **options, **ROWS)
        assert tree(tmp_path / f"out{k}") == whole, k


def test_a_killed_import_does_not_begin_anew(tmp_path, monkeypatch):
    source, options = folder_of_npz(tmp_path)

    def end(done, total):
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        import_losses(source, tmp_path / "out", **options, **ROWS, progress=end)
    with pytest.raises(StoreError, match="unfinished losses"):
        open_losses(tmp_path / "out")
    written, write = [], UnfinishedLosses.write
    monkeypatch.setattr(
        UnfinishedLosses, "write", lambda self, start, *rest: written.append(start) or write(self, start, *rest)
    )
    import_losses(source, tmp_path / "out", **options, **ROWS)
    assert written == [8]


def test_what_is_left_out_is_said(tmp_path):
    frame = pandas.DataFrame({"token": [0, 0, 1], "step": [1, 2, 1], "loss": [5.0, 4.0, 6.0]})
    with pytest.warns(LossImportWarning, match="the data frame: 1 of 4 losses are not in the table"):
        store = import_losses(frame, tmp_path / "losses.zarr")
    assert np.isnan(store.read()).tolist() == [[False, False], [False, True]]
