"""A damaged record of finished blocks is named with its file and cure, and never believed."""

import json

import numpy as np
import pytest
from test_fits import fit_all, make_losses
from zarr.storage import MemoryStore

from tests.kills import tree
from tsl_jax.store import BlockState, InvalidStoreError, Ledger, ledger, locate, open_fits, validate
from tsl_jax.store.ledger import ENTRIES, NOTED, InputDigest, ResultDigest, record
from tsl_jax.store.local_objects import Stored
from tsl_jax.store.record_objects import delete_records, lacks_records
from tsl_jax.store.snapshot import keep_snapshot


@pytest.fixture
def losses(tmp_path):
    return make_losses(tmp_path / "losses.zarr")


@pytest.fixture
def fits(losses, tmp_path):
    fit_all(losses, tmp_path / "fits")
    return tmp_path / "fits"


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_every_byte_of_a_record_is_checked(fits):
    file = fits / "ledger/c.1.0"
    good = file.read_bytes()
    assert len(good) == 8 * len(ENTRIES) + 4  # and the checksum that Zarr looks at
    for at in range(len(good)):
        file.write_bytes(flip(good, at))
        assert [(v.where, v.level) for v in validate(fits)] == [("ledger/c.1.0", "error")], at


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty", "another block's"])
def test_a_damaged_record_is_named_and_its_cure_works(how, losses, fits, tmp_path):
    whole, file = tree(fits), fits / "ledger/c.1.0"
    good = file.read_bytes()
    file.write_bytes(
        {
            "flipped": flip(good, 0),
            "truncated": good[:-9],
            "empty": b"",
            "another block's": (fits / "ledger/c.0.0").read_bytes(),
        }[how]
    )
    with pytest.raises(InvalidStoreError, match=r"ledger/c\.1\.0: damaged.*Run the same tsl fit command again"):
        open_fits(fits)
    assert fit_all(losses, fits) == 1
    assert tree(fits) == whole


def test_every_damaged_record_is_named_at_once(fits):
    for block in (0, 2):
        file = fits / f"ledger/c.{block}.0"
        file.write_bytes(flip(file.read_bytes(), 8))
    with pytest.raises(InvalidStoreError) as raised:
        open_fits(fits)
    assert [violation.where for violation in raised.value.violations] == ["ledger/c.0.0", "ledger/c.2.0"]


def test_fits_with_a_damaged_record_can_be_begun_anew(losses, fits):
    whole, file = tree(fits), fits / "ledger/c.0.0"
    file.write_bytes(file.read_bytes()[:5])
    assert fit_all(losses, fits, overwrite=True) == 3
    assert tree(fits) == whole


def test_a_record_that_a_crash_left_empty_is_an_unfinished_block(losses, fits):
    """A file system that lost power may keep a file's length and not its bytes."""
    whole, file = tree(fits), fits / "ledger/c.2.0"
    file.write_bytes(bytes(8 * len(ENTRIES)))
    assert fit_all(losses, fits) == 1
    assert tree(fits) == whole


def test_a_ledger_of_another_shape_is_refused(losses):
    target = MemoryStore()
    fit_all(losses, target)
    group = open_fits(target).location.open_group("r+")
    block_tokens = group["ledger"].attrs["block_tokens"]
    group.create_array(
        "ledger", data=np.ones((3, 5), "int64"), attributes={"block_tokens": block_tokens}, overwrite=True
    )
    with pytest.raises(InvalidStoreError, match=r"ledger: shape \(3, 5\).*overwrite=True"):
        open_fits(target)


def test_a_record_counts_its_tokens():
    status, category = np.array([0, 0, 3], "uint8"), np.array([1, 0, 255], "uint8")
    given, result = InputDigest(2**62, 5, 6), ResultDigest(7, 8)
    counted = {"learned_rising": 1, "second_events": 300}
    row = record(4, BlockState.FINISHED, given, result, status, category, counted)
    ledger = Ledger(3, row[None])
    assert row.shape == (len(ENTRIES),)
    assert ledger.complete
    assert ledger.digests.tolist() == [2**62]
    assert (ledger.input(0), ledger.result(0)) == (InputDigest(2**62, 5, 6), ResultDigest(7, 8))
    assert ledger.status_counts() == {0: 2, 3: 1}
    assert ledger.category_counts() == {0: 1, 1: 1, 255: 1}
    assert [ledger.noted(name) for name in NOTED] == [1, 0, 300]


@pytest.fixture
def copied(fits, monkeypatch):
    """Fits whose records have a copy, as those of many blocks have; and what is read of the records themselves."""
    for module in ("ledger", "snapshot"):
        monkeypatch.setattr(f"tsl_jax.store.{module}.LEAST_BLOCKS", 2)
    keep_snapshot(locate(fits, writable=True), open_fits(fits).ledger.table)
    read, real = [], ledger.read_rows_with_gaps

    def reading(array, first, last, **options):
        read.extend(range(first, last))
        return real(array, first, last, **options)

    monkeypatch.setattr(ledger, "read_rows_with_gaps", reading)
    return fits, read


def test_a_copy_of_the_records_counts_while_they_are_as_they_were(copied, losses):
    fits, read = copied
    table = open_fits(fits).ledger.table
    assert read == []
    file = fits / "ledger/c.1.0"
    good = file.read_bytes()
    file.write_bytes(flip(good, 8))  # in its place, of the same size
    with pytest.raises(InvalidStoreError, match=r"ledger/c\.1\.0: damaged"):
        open_fits(fits)
    assert read == [1]
    file.unlink()
    assert open_fits(fits).ledger.states.tolist() == [1, 0, *[1] * (len(table) - 2)]
    other = file.with_name("other")
    other.write_bytes(good)
    other.replace(file)
    read.clear()
    assert np.array_equal(open_fits(fits).ledger.table, table)
    assert read == [1]


def test_a_damaged_copy_of_the_records_counts_for_nothing(copied):
    fits, read = copied
    table = open_fits(fits).ledger.table
    copy = fits / "ledger/snapshot"
    copy.write_bytes(copy.read_bytes()[:-1])
    assert np.array_equal(open_fits(fits).ledger.table, table)
    assert read == list(range(len(table)))


def test_a_copy_that_is_kept_again_takes_known_records_for_what_they_were_when_read(copied):
    """A record that changes after it was read is read again, though the copy was made after the change."""
    fits, read = copied
    known = open_fits(fits).ledger
    file = fits / "ledger/c.1.0"
    file.write_bytes(flip(file.read_bytes(), 8))
    keep_snapshot(locate(fits, writable=True), known.table, known.tags)
    with pytest.raises(InvalidStoreError, match=r"ledger/c\.1\.0: damaged"):
        open_fits(fits)
    assert read == [1]


def test_rows_that_are_recorded_since_are_looked_at_when_a_copy_is_kept(copied):
    fits, read = copied
    known = open_fits(fits).ledger
    file = fits / "ledger/c.1.0"
    again = known.with_rows({1: known.table[1]})
    file.write_bytes(file.read_bytes())
    keep_snapshot(locate(fits, writable=True), again.table, again.tags)
    assert np.array_equal(open_fits(fits).ledger.table, known.table)
    assert read == []
    assert again.tags[1] == 0
    assert known.tags[1] != 0


def test_names_alone_show_that_a_record_is_lacking(fits):
    group = open_fits(fits).location.open_group()
    assert not lacks_records(group)
    (fits / "ledger/c.1.0").unlink()
    assert lacks_records(group)


@pytest.mark.parametrize("listed", [{}, {"ledger/c.1.0": Stored(372, "1")}])
def test_a_listing_without_what_is_there_says_nothing_of_records(listed, copied, monkeypatch):
    """As of servers that answer every listing with nothing."""
    fits, read = copied
    table = open_fits(fits).ledger.table
    monkeypatch.setattr("tsl_jax.store.record_objects.find_objects", lambda store, prefix: listed)
    found = open_fits(fits).ledger
    assert np.array_equal(found.table, table)
    assert found.complete
    assert found.tags is None
    assert read == list(range(len(table)))


@pytest.fixture
def folders(fits):
    """A ledger with a folder for each record, as the package wrote them before."""
    metadata = fits / "ledger/zarr.json"
    told = json.loads(metadata.read_text())
    told["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "/"}}
    metadata.write_text(json.dumps(told))
    for block in range(len(records_of(fits))):
        place = fits / f"ledger/c/{block}"
        place.mkdir(parents=True)
        (fits / f"ledger/c.{block}.0").rename(place / "0")
    return fits


def records_of(fits):
    return sorted((fits / "ledger").glob("c.*.0"))


def test_a_ledger_of_folders_is_read_and_written_on(folders, losses):
    states = open_fits(folders).ledger.states
    assert np.all(states == BlockState.FINISHED)
    assert len(states) == 3
    assert [violation.level for violation in validate(folders)] == []
    (folders / "ledger/c/1/0").unlink()
    (folders / "ledger/c/1").rmdir()
    assert lacks_records(open_fits(folders).location.open_group())
    assert fit_all(losses, folders) == 1
    assert (folders / "ledger/c/1/0").is_file()
    assert not records_of(folders)


def test_a_ledger_of_folders_is_replaced(folders, losses, tmp_path):
    fit_all(losses, tmp_path / "new")
    assert fit_all(losses, folders, overwrite=True) == 3
    assert tree(folders) == tree(tmp_path / "new")
    assert not (folders / "ledger/c").exists()


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_all_records_go_and_what_lies_beside_them_stays(place, losses, tmp_path):
    fits = tmp_path / "fits" if place == "folder" else MemoryStore()
    fit_all(losses, fits)
    location = locate(fits, writable=True)
    location.write_object("ledger/run", b"a")
    delete_records(location)
    assert np.all(open_fits(fits).ledger.states == BlockState.PENDING)
    assert location.read_object("ledger/run") == b"a"
