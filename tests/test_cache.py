"""Code is run from a cache alone that nobody else can write."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tsl_jax import cache

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners and modes here")
ROOT = os.name == "posix" and os.geteuid() == 0
#: A user who is neither root nor, where tests run as root, this one.
ANOTHER = 65534
only_root = pytest.mark.skipif(not ROOT, reason="only root can give files away")


@pytest.fixture
def home(monkeypatch, tmp_path):
    """Where `compiled_folder` is to make its folders."""
    path = tmp_path / "home"
    path.mkdir(mode=0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / "cache"))
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """Sets the mask of new files' modes, for a test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022])
def test_folders_are_made_for_the_user_alone(home, umask, mask):
    umask(mask)
    folder = cache.compiled_folder("kernel")
    assert folder is not None
    assert [mode(path) for path in (folder, folder.parent, home / "cache")] == [0o700] * 3
    assert cache.compiled_folder("kernel") == folder


def test_a_folder_that_others_can_read_is_good_enough(home):
    folder = cache.compiled_folder("kernel")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    assert cache.compiled_folder("kernel") == folder


@pytest.mark.parametrize("bits", [0o777, 0o757, 0o1777, 0o702])
def test_a_folder_that_others_can_write_is_refused(home, bits):
    folder = cache.compiled_folder("kernel")
    folder.chmod(bits)
    with pytest.warns(cache.CacheWarning, match=rf"others \(mode {bits:04o}\).* Delete it \(rm -r {folder}\)"):
        assert cache.compiled_folder("kernel") is None


@pytest.mark.parametrize("above", ["cache/tsl_jax", "cache", "."])
def test_a_folder_above_that_others_can_write_is_refused_unless_it_is_sticky(home, above):
    folder = cache.compiled_folder("kernel")
    (home / above).chmod(0o777)
    with pytest.warns(cache.CacheWarning, match=rf"^{home / above}: can be written .* \(chmod go-w {home / above}\)"):
        assert cache.compiled_folder("kernel") is None
    (home / above).chmod(0o1777)  # as /tmp: others may add to it, and not exchange what is there
    assert cache.compiled_folder("kernel") == folder


def test_a_group_that_may_write_is_others_unless_it_is_the_users_own(home, monkeypatch):
    folder = cache.compiled_folder("kernel")
    folder.chmod(0o770)
    monkeypatch.setattr(cache, "_private", lambda path, group: group == folder.stat().st_gid)
    assert cache.compiled_folder("kernel") == folder
    monkeypatch.setattr(cache, "_private", lambda path, group: False)
    with pytest.warns(cache.CacheWarning, match="mode 0770"):
        assert cache.compiled_folder("kernel") is None


def test_whose_group_is_private(monkeypatch, tmp_path):
    import grp
    import pwd
    from types import SimpleNamespace

    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="ada", pw_gid=1000))
    for name, members, private in (
        ("ada", [], True),
        ("ada", ["ada"], True),
        ("ada", ["eve"], False),
        ("staff", [], False),
    ):
        group = SimpleNamespace(gr_name=name, gr_mem=members)
        monkeypatch.setattr(grp, "getgrgid", lambda _, group=group: group)
        assert cache._private(tmp_path, 1000) == private
        assert not cache._private(tmp_path, 1001)  # of which she is no member by default
    monkeypatch.setattr(os, "listxattr", lambda _: ["system.posix_acl_access"], raising=False)
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name="ada", gr_mem=[]))
    assert not cache._private(tmp_path, 1000)


@pytest.mark.parametrize("relative", [False, True])
def test_links_are_followed_and_what_they_lead_through_is_looked_at(home, relative):
    elsewhere = home / "open" / "shut"
    elsewhere.mkdir(parents=True)
    (home / "cache").symlink_to("../home/open/shut" if relative else elsewhere)
    folder = cache.compiled_folder("kernel")
    assert folder is not None
    assert folder.resolve().is_relative_to(elsewhere)
    (home / "open").chmod(0o777)  # who writes there can exchange what the link leads to
    with pytest.warns(cache.CacheWarning, match=rf"^{home / 'open'}: can be written"):
        assert cache.compiled_folder("kernel") is None


def test_a_link_in_a_folder_of_others_is_refused(home):
    shared = home / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (home / "good").mkdir()
    (shared / "link").symlink_to(home / "good")
    (home / "cache").symlink_to(shared / "link")
    with pytest.warns(cache.CacheWarning, match=rf"^{shared}: can be written"):
        assert cache.compiled_folder("kernel") is None


def test_a_ring_of_links_is_no_folder(home):
    (home / "cache").symlink_to("other")
    (home / "other").symlink_to("cache")
    assert cache.compiled_folder("kernel") is None
    with pytest.raises(OSError, match="too many links"):
        cache.doubt_about(home / "cache")


@only_root
@pytest.mark.parametrize("above", ["", "tsl_jax", "leaf"])
def test_folders_of_another_user_are_refused(home, above):
    folder = cache.compiled_folder("kernel")
    path = folder if above == "leaf" else home / "cache" / above
    os.chown(path, ANOTHER, -1)
    with pytest.warns(cache.CacheWarning, match=f"^{path}: belongs to user {ANOTHER}"):
        assert cache.compiled_folder("kernel") is None


@only_root
def test_a_link_of_another_user_is_refused(home):
    (home / "good").mkdir()
    (home / "cache").symlink_to(home / "good")
    os.chown(home / "cache", ANOTHER, -1, follow_symlinks=False)
    with pytest.warns(cache.CacheWarning, match=f"^{home / 'cache'}: belongs to user {ANOTHER}"):
        assert cache.compiled_folder("kernel") is None


def test_code_is_read_from_a_file_of_the_users_own(tmp_path):
    path = tmp_path / "code.so"
    path.write_bytes(b"code")
    path.chmod(0o755)
    assert cache.read_code(path) == b"code"
    path.chmod(0o757)
    with pytest.raises(cache.DoubtfulCodeError, match=r"can be written by others \(mode 0757\).*rm"):
        cache.read_code(path)
    (tmp_path / "link.so").symlink_to(path)
    with pytest.raises(OSError, match=r"link\.so"):
        cache.read_code(tmp_path / "link.so")
    if ROOT:
        path.chmod(0o755)
        os.chown(path, ANOTHER, -1)
        with pytest.raises(cache.DoubtfulCodeError, match=f"belongs to user {ANOTHER}"):
            cache.read_code(path)


def test_what_lies_in_a_folder_counts_where_others_get_to_it(home):
    folder = cache.compiled_folder("programs")
    (folder / "sub").mkdir()
    program = folder / "sub" / "program"
    program.touch()
    program.chmod(0o666)  # as JAX writes it with umask 000
    assert cache.doubt_about_contents(folder) is None
    folder.chmod(0o755)
    assert f"{program}: can be written by others" in cache.doubt_about_contents(folder)
    program.chmod(0o644)
    (folder / "sub").chmod(0o755)
    assert cache.doubt_about_contents(folder) is None
    if ROOT:
        folder.chmod(0o700)
        os.chown(program, ANOTHER, -1)
        assert "belongs to user" in cache.doubt_about_contents(folder)


def test_the_command_says_in_a_line_why_its_programs_are_not_kept(home):
    folder = cache.compiled_folder("programs")
    folder.chmod(0o777)
    code = "import os; from tsl_jax.cli import main; import sys; sys.argv[1:] = ['--version']\ntry: main()\nfinally: "
    code += "print(os.environ.get('JAX_COMPILATION_CACHE_DIR'))"
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.startswith(f"warning: {folder}: can be written by others (mode 0777)")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.splitlines()[-1] == "None"


def test_where_there_are_no_owners_nothing_is_refused(home, monkeypatch):
    monkeypatch.setattr(cache, "_HAS_OWNERS", False)
    folder = cache.compiled_folder("kernel")
    Path(folder).chmod(0o777)
    assert cache.compiled_folder("kernel") == folder
    assert cache.doubt_about_contents(folder) is None
