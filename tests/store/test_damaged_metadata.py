"""Damaged metadata of a fit store: an error of the package with its cure, never another, and the cure works."""

import contextlib
import json
import random
import shutil

import pytest
from test_fits import fit_all, make_losses

from tests.kills import tree
from tsl_jax.store import StoreError, open_fits, open_losses, validate
from tsl_jax.store.fit_creation import finished_fits

SEED = 11


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Losses and their fits."""
    place = tmp_path_factory.mktemp("whole")
    fit_all(make_losses(place / "losses.zarr"), place / "fits")
    return place


@pytest.fixture
def fits(whole, tmp_path):
    shutil.copytree(whole / "fits", tmp_path / "fits")
    return tmp_path / "fits"


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def attribute(name, value):
    return lambda document: document["attributes"].__setitem__(name, value)


DAMAGES = {
    "the group's is gone": ("zarr.json", None),
    "the group's is cut": ("zarr.json", "{"),
    "the group's is empty": ("zarr.json", ""),
    "an array's is gone": ("rss/zarr.json", None),
    "an array's is cut": ("rss/zarr.json", '{"zarr_format": 3'),
    "an array's is of bytes": ("rss/zarr.json", b"\xff\xfe\x00"),
    "the ledger's is cut": ("ledger/zarr.json", "{"),
    "the ledger's is of nothing": ("ledger/zarr.json", "null"),
    "the ledger is of other numbers": ("ledger/zarr.json", lambda document: document.update(data_type="int65")),
    "blocks of no tokens": ("ledger/zarr.json", attribute("block_tokens", 0)),
    "blocks of a word": ("ledger/zarr.json", attribute("block_tokens", "a")),
    "blocks of half a token": ("ledger/zarr.json", attribute("block_tokens", 20.5)),
    "blocks that cut shards": ("ledger/zarr.json", attribute("block_tokens", 7)),
    "blocks that are too few": ("ledger/zarr.json", attribute("block_tokens", 10)),
    "no blocks": ("ledger/zarr.json", lambda document: document["attributes"].clear()),
    "no family": ("zarr.json", lambda document: document["attributes"].pop("family")),
    "no parameters": ("zarr.json", attribute("parameters", None)),
    "a parameter that is none": ("zarr.json", attribute("parameters", [3, "sharpness"])),
    "another axis": ("zarr.json", attribute("axis", "lr_sum")),
    "another version": ("zarr.json", attribute("tsl_version", 99)),
    "a version of a word": ("zarr.json", attribute("tsl_version", "2")),
    "a version that is true": ("zarr.json", attribute("tsl_version", True)),
    "another length": ("rss/zarr.json", lambda document: document.__setitem__("shape", [10])),
    "two dimensions": ("rss/zarr.json", lambda document: document.__setitem__("dimension_names", ["checkpoint"])),
    "other numbers": ("rss/zarr.json", lambda document: document.__setitem__("data_type", "int32")),
}


def damage(fits, file, how):
    if how is None:
        (fits / file).unlink()
    elif callable(how):
        edit(fits / file, how)
    else:
        (fits / file).write_bytes(how if isinstance(how, bytes) else how.encode())


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_metadata_is_an_error_with_a_cure_that_works(name, whole, fits):
    damage(fits, *DAMAGES[name])
    losses = open_losses(whole / "losses.zarr")
    with pytest.raises(StoreError, match=r"overwrite=True|Upgrade|Check the path"):
        open_fits(fits)
    assert finished_fits(fits, losses, lambda location: pytest.fail("these fits count as finished")) is None
    with pytest.raises(StoreError, match="overwrite=True"):
        fit_all(losses, fits)
    fit_all(losses, fits, overwrite=True)
    assert tree(fits) == tree(whole / "fits")


@pytest.mark.parametrize(
    "layout",
    [{}, {"chunk_tokens": 0, "shard_tokens": 10, "block_tokens": 20}, {"chunk_tokns": 5}, None, "5",
     {"chunk_tokens": 5, "shard_tokens": 10, "block_tokens": 25}],
)  # fmt: skip
def test_a_layout_that_cannot_be_is_refused_where_it_is_needed(layout, whole, fits):
    edit(fits / "zarr.json", attribute("layout", layout))
    shutil.rmtree(fits / "ledger")
    losses = open_losses(whole / "losses.zarr")
    with pytest.raises(StoreError, match=r"attribute layout: got .*overwrite=True"):
        fit_all(losses, fits)
    fit_all(losses, fits, overwrite=True)
    assert tree(fits) == tree(whole / "fits")


def test_a_ledger_that_is_gone_is_made_again(whole, fits):
    shutil.rmtree(fits / "ledger")
    assert fit_all(open_losses(whole / "losses.zarr"), fits) == 3
    assert tree(fits) == tree(whole / "fits")


def test_damage_at_random_is_an_error_of_the_package_or_none(whole, fits):
    """Every byte of the metadata may be any other: what is raised has a message, and what is read is right."""
    print("seed", SEED)
    choice, losses = random.Random(SEED), open_losses(whole / "losses.zarr")
    good = tree(fits)
    files = [name for name in good if name.endswith("zarr.json")]
    for turn in range(60):
        name = files[turn % len(files)]
        data = bytearray(good[name])
        at = choice.randrange(len(data))
        data[at] = choice.choice([data[at] ^ 1 << choice.randrange(8), choice.randrange(256)])
        (fits / name).write_bytes(bytes(data))
        for act in (lambda: open_fits(fits).read(), lambda: validate(fits, deep=True), lambda: fit_all(losses, fits)):
            with contextlib.suppress(StoreError):
                act()
        shutil.rmtree(fits)
        shutil.copytree(whole / "fits", fits)


def test_damaged_metadata_do_not_spread_to_the_copy_that_other_readers_use(tmp_path):
    losses = make_losses(tmp_path / "losses")
    fit_all(losses, tmp_path / "fits")
    before, place = tree(tmp_path / "fits"), tmp_path / "fits/rss/zarr.json"
    place.write_bytes(before["rss/zarr.json"].replace(b"fill_value", b"fill_valee"))
    with pytest.raises(StoreError, match="rss"):
        fit_all(losses, tmp_path / "fits")
    place.write_bytes(before["rss/zarr.json"])
    assert tree(tmp_path / "fits") == before
    assert fit_all(losses, tmp_path / "fits") == 0
    assert tree(tmp_path / "fits") == before
