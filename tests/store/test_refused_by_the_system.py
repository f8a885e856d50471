"""What the system refuses to show is told, with a way out: it is never taken for absent, whole or empty."""

import errno
import functools

import numpy as np
import pytest
from test_fits import fit_all, make_losses

from tests import refusals
from tsl_jax.store import (
    LossCurveFile,
    StoreError,
    create_losses,
    import_losses,
    list_objects,
    locate,
    open_fits,
    open_losses,
    validate,
)


@pytest.fixture
def refuse(monkeypatch):
    """Makes the system refuse a place."""
    return functools.partial(refusals.refuse, monkeypatch)


def test_a_store_with_a_folder_that_cannot_be_listed_is_not_valid(tmp_path, refuse):
    make_losses(tmp_path / "losses")
    refuse(tmp_path / "losses/losses/c")
    said = r"losses/losses/c: cannot be looked at \(PermissionError: Permission denied\)\. Get the right to read"
    with pytest.raises(StoreError, match=said):
        validate(tmp_path / "losses")
    with pytest.raises(StoreError, match=said):
        list_objects(locate(tmp_path / "losses").store, "")


def test_results_that_cannot_be_looked_at_are_not_fitted_anew(tmp_path, refuse):
    losses = make_losses(tmp_path / "losses")
    fit_all(losses, tmp_path / "fits")
    refuse(tmp_path / "fits/rss/c", errno.EIO)
    with pytest.raises(StoreError, match=r"fits/rss/c\S*: cannot be looked at .*Check the disk"):
        validate(tmp_path / "fits")
    with pytest.raises(StoreError, match=r"fits/rss/c\S*: cannot be looked at"):
        fit_all(losses, tmp_path / "fits")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG, errno.ESTALE])
def test_a_place_that_cannot_be_looked_at_is_named(tmp_path, refuse, number):
    refuse(tmp_path / "there", number)
    for act in (open_losses, open_fits, validate, lambda place: locate(place, writable=True)):
        with pytest.raises(StoreError, match=r"there/fits: cannot be looked at.* and try again\.$"):
            act(tmp_path / "there/fits")


def test_a_name_that_is_too_long_is_said_to_be(tmp_path):
    with pytest.raises(StoreError, match=r"File name too long.*Give a shorter name"):
        create_losses(tmp_path / ("x" * 300), (1, 2), checkpoints={"step": [1, 2]})


def test_what_lies_beside_a_folder_that_cannot_be_listed_is_kept(tmp_path, refuse):
    losses = make_losses(tmp_path / "losses")
    fit_all(losses, tmp_path / "fits")
    (tmp_path / "fits/thesis").mkdir()
    (tmp_path / "fits/thesis/chapter").write_text("mine")
    refuse(tmp_path / "fits/rss/c")
    with pytest.raises(StoreError, match=r"rss/c: cannot be looked at|holds other files"):
        fit_all(losses, tmp_path / "fits", overwrite=True)
    assert (tmp_path / "fits/thesis/chapter").read_text() == "mine"


@pytest.mark.parametrize("key", ["losses/c/1/0", "losses/c"])
def test_a_link_that_leads_to_itself_is_as_one_that_leads_nowhere(tmp_path, key):
    for name, target in (("itself", key.rpartition("/")[2]), ("nowhere", "gone")):
        place = tmp_path / name
        make_losses(place)
        (place / key).rename(tmp_path / f"{name}-kept")
        (place / key).symlink_to(target)
        found = [violation for violation in validate(place) if violation.level == "error"]
        assert [violation.where for violation in found] == ["losses"]
        assert "not stored" in found[0].what
        with pytest.raises(StoreError, match=r"chunk losses/c/1/0"):
            open_losses(place).read(slice(10, 15))


ROWS = "step,loss\n" + "".join(f"{step},{5 - 0.1 * step}\n" for step in range(1, 9))
REFUSED = r"cannot be looked at \(PermissionError: Permission denied\)\. Get the right to read what is there and"


def files_of_a_user(folder):
    """What users bring: a curve, arrays, a table."""
    folder.mkdir()
    (folder / "curve.csv").write_text(ROWS)
    np.save(folder / "steps.npy", np.arange(1, 4))
    np.save(folder / "losses.npy", np.ones((5, 3), "float32"))
    (folder / "tokens.csv").write_text("token_id\n" + "1\n" * 5)
    return folder


@pytest.mark.parametrize("refused", ["", "/curve.csv", "/losses.npy", "/steps.npy", "/tokens.csv"])
def test_users_files_that_may_not_be_read_are_named_with_a_way_out(tmp_path, refuse, refused):
    folder = files_of_a_user(tmp_path / "mine")
    steps = {"steps": [1, 2, 3]}
    acts = {
        "/curve.csv": [lambda: LossCurveFile(folder / "curve.csv")],
        "/losses.npy": [lambda: import_losses(folder / "losses.npy", tmp_path / "out", **steps)],
        "/steps.npy": [lambda: import_losses(np.ones((5, 3)), tmp_path / "out", steps=folder / "steps.npy")],
        "/tokens.csv": [
            lambda: import_losses(np.ones((5, 3)), tmp_path / "out", tokens=folder / "tokens.csv", **steps),
        ],
    }
    acts[""] = [*(act for those in acts.values() for act in those), lambda: import_losses(folder, tmp_path / "out")]
    refuse(f"{folder}{refused}")
    for act in acts[refused]:
        with pytest.raises(StoreError, match=REFUSED) as raised:
            act()
        assert str(folder) in str(raised.value)
    assert not (tmp_path / "out").exists()
