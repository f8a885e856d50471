"""Where what is compiled for this machine is kept between runs: code, so only from folders that nobody else can change.

A name that holds its own digest proves nothing about who wrote the file. What does is that every folder and link from
the root on belongs to this user or to root and lets no one else write: then nobody else can put another file there,
neither before the check nor after it. (Where a system has no such owners and modes, nothing is checked.)
"""

import hashlib
import os
import platform
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

#: Links in one path after which it is taken for a ring, as Linux does.
_MOST_LINKS = 40
_HAS_OWNERS = hasattr(os, "geteuid")


class CacheWarning(UserWarning):
    """A folder or file of compiled programs is not used, because somebody else may have written it."""


class DoubtfulCodeError(PermissionError):
    """Somebody else could have written a file of compiled code."""


def compiled_folder(kind: str) -> Path | None:
    """A folder for programs of one kind in the user's cache (`XDG_CACHE_HOME`, else ``~/.cache``).

    It is made for the user alone. None if there is no home, if it cannot be made, or, with a `CacheWarning`, if anybody
    else could write in it. What is there may be read only.

    Machines that share a home but differ in their processors' instructions keep theirs apart.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    folder = cache / "tsl_jax" / f"{kind}-{instruction_set()}"
    if not cache.is_absolute():
        return None  # no home is known: nothing is written below the working directory
    try:
        _make(folder)
        doubt = doubt_about(folder)
    except OSError:
        return None
    if doubt:
        warn(doubt)
    return None if doubt else folder


def keep_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder; the environment has the last word.

    `JAX_COMPILATION_CACHE_DIR` names another folder, ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps none.
    """
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = compiled_folder("programs")
    if folder is None or not os.access(folder, os.W_OK):
        return
    if doubt := doubt_about_contents(folder):
        warn(doubt)
    else:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)


def _make(folder: Path) -> None:
    """Make a folder and those above it that are absent, each for its owner alone, whatever the umask."""
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)


def warn(doubt: str) -> None:
    """Say that nothing is run from the cache or kept in it, and why."""
    message = f"{doubt} Until then what is compiled is not kept, or not used again."
    warnings.warn(message, CacheWarning, stacklevel=2)


def doubt_about(path: Path, variable: str = "XDG_CACHE_HOME") -> str | None:
    """Why code may not be run from a folder: who else could have written it, and the cure; None if nobody.

    Args:
        path: absolute.
        variable: of the environment, which names another place.

    Raises:
        OSError: it cannot be looked at.
    """
    if not _HAS_OWNERS:
        return None
    *above, last = _way_to(path)
    for place, state in above:
        if doubt := _doubt(place, state, above=True):
            return f"{doubt} Take that right away (chmod go-w {place}), or name a folder of your own in {variable}."
    return (doubt := _doubt(*last)) and f"{doubt} Delete it (rm -r {last[0]}): it is made again, for you alone."


def doubt_about_contents(folder: Path) -> str | None:
    """`doubt_about` for all that lies in a folder which itself is beyond doubt."""
    shut = not stat.S_IMODE(folder.stat().st_mode) & 0o011  # nobody else gets to what is in it
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files) if _HAS_OWNERS else ():
            path = Path(root) / name
            if doubt := _doubt(path, path.lstat(), reached=not shut):
                return f"{doubt} Delete it (rm -r {path})."
    return None


def read_code(path: Path) -> bytes:
    """A file of compiled code in a folder beyond doubt, checked and read by one descriptor.

    Raises:
        DoubtfulCodeError: somebody else could have written it.
        OSError: it cannot be read, or is a link.
    """
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        if doubt := _HAS_OWNERS and _doubt(path, os.fstat(file.fileno())):
            raise DoubtfulCodeError(f"{doubt} Delete it (rm {path}).")
        return file.read()


def _way_to(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every folder and link that leads to an absolute path, from the root on, with its state; the path itself last.

    None of them can be exchanged by others while this goes on: each is looked at after all that it lies in.
    """
    place, links = Path(path.anchor), 0
    ahead = list(reversed(path.parts[1:]))
    yield place, place.lstat()
    while ahead:
        name = ahead.pop()
        if name == os.pardir:
            place = place.parent
            continue
        state = (place / name).lstat()
        yield place / name, state
        if not stat.S_ISLNK(state.st_mode):
            place = place / name
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(f"{path}: too many links")
        target = Path(os.readlink(place / name))
        ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        place = Path(target.anchor) if target.is_absolute() else place


def _doubt(path: Path, state: os.stat_result, *, above: bool = False, reached: bool = True) -> str | None:
    """Who else writes one folder, link or file.

    Args:
        path: of it.
        state: its own, not that of a link's target.
        above: what counts lies below it.
        reached: others can get to it.
    """
    owners = {os.geteuid(), 0, os.stat("/").st_uid}  # who has the root has everything, whatever a container calls it
    if state.st_uid not in owners:
        return f"{path}: belongs to user {state.st_uid}, who could put other programs there."
    if stat.S_ISLNK(state.st_mode) or not reached:
        return None  # a link's own mode says nothing
    mode = stat.S_IMODE(state.st_mode)
    if above and mode & stat.S_ISVTX:
        return None  # as in /tmp, only its owner may exchange what lies in it
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _private(path, state.st_gid)):
        return f"{path}: can be written by others (mode {mode:04o}), who could put other programs there."
    return None


def _private(path: Path, group: int) -> bool:
    """Whether a group is this user's alone: many systems make each user one of the same name, and let it write."""
    import grp
    import pwd

    try:
        user, members = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
        listed = "system.posix_acl_access" in getattr(os, "listxattr", lambda _: [])(path)  # of more users than one
    except (KeyError, OSError):
        return False
    own = user.pw_gid == group and members.gr_name == user.pw_name and set(members.gr_mem) <= {user.pw_name}
    return own and not listed


def instruction_set() -> str:
    """A short name of what this processor understands: programs compiled for another may crash on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    known = [line for line in lines if line.startswith(("flags", "Features"))][:1] or lines[:1]
    return f"{platform.machine()}-{hashlib.sha256(''.join(known).encode()).hexdigest()[:12]}"
