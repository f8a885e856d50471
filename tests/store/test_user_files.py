"""Pictures, tables and other single files: whole under their names, or not there."""

import json
import os

import pytest

from tests.kills import dead_name
from tsl_jax.cli.component_files import write_components
from tsl_jax.plots.style import new_figure, save
from tsl_jax.store.errors import WriteError
from tsl_jax.store.user_files import write_file


class Gone(BaseException):
    """The process ends."""


def test_what_was_there_stays_until_all_is_written(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")

    def half(file):
        file.write(b"half")
        file.flush()
        assert path.read_text() == "before"
        raise Gone

    with pytest.raises(Gone):
        write_file(path, "the table", half)
    assert path.read_text() == "before"
    write_file(path, "the table", lambda file: file.write(b"after"))
    assert path.read_text() == "after"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    for name in (dead_name("a.png"), dead_name("b.png"), "a.png.partial", "thesis.partial"):
        (tmp_path / name).write_bytes(b"half")
    save(new_figure(1, 1), tmp_path / "a.png")
    left = {name for name in os.listdir(tmp_path) if not name.startswith("b.png.")}
    assert left == {"a.png", "a.png.partial", "thesis.partial"}


def test_a_full_disk_says_what_where_why_what_is_kept_and_the_cure(tmp_path):
    def full(_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "new" / "table.csv"
    with pytest.raises(
        WriteError, match=r"table\.csv: could not write the table: .*No space.* kept\. Free some space and"
    ):
        write_file(path, "the table", full)
    assert not path.exists()


@pytest.mark.parametrize("ending", ["png", "PNG", "svg", "pdf"])
def test_pictures_are_never_half_there(ending, tmp_path, monkeypatch):
    seen = []
    real = os.replace

    def replace(source, target):
        seen.append((os.path.exists(target), os.path.getsize(source)))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    path = tmp_path / "folder" / f"picture.{ending}"
    save(new_figure(1, 1), path)
    assert seen == [(False, path.stat().st_size)]
    assert path.read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to("real.csv")
    write_file(tmp_path / "link.csv", "the table", lambda file: file.write(b"after"))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "after"


def test_components_are_whole(tmp_path, monkeypatch):
    class Components:
        def as_dict(self):
            return {"learning_time": [1.0]}

    said = {"runs": ["a", "b"], "axis": "step", "scale": "log"}
    write_components(tmp_path / "c.json", Components(), said)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(Gone))
    with pytest.raises(Gone):
        write_components(tmp_path / "c.json", Components(), said | {"axis": "tokens_seen"})
    assert json.loads((tmp_path / "c.json").read_text())["axis"] == "step"
