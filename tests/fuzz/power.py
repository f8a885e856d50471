"""A disk that loses what was not forced to it when the power fails: what could then be there, at any moment of a run.

It looks at the real folder, and keeps what of it was forced to the disk: of a file its content, of a folder the names
in it. When the power fails, any part of the rest may be gone: a file that was not forced can be whole, cut or empty, a
name can be there or not, and stand for the file before.
"""

import os
import shutil
import stat
import threading
from collections import Counter
from pathlib import Path

from tests.kills import dead_name
from tsl_jax.store.local_files import written_file

_MOVES = ("replace", "rename", "link")
_CHANGES = ("unlink", "remove", "rmdir", "mkdir")


class Disk:
    """Watches a folder; all in it so far is on the disk.

    Args:
        root: the folder.
        monkeypatch: of the test.
        choice: random choices of what is left.
    """

    def __init__(self, root: Path, monkeypatch, choice) -> None:
        self.root, self.changes, self.told = root, 0, 0
        self.states: dict[int, Path] = {}
        self._choice, self._wanted, self._lock = choice, frozenset(), threading.RLock()
        self._files: dict[tuple[int, int], bytes] = {}
        self._folders: dict[tuple[int, int], dict[str, tuple[int, int]]] = {}
        self._used, self._are_folders = Counter(), set()
        for path in (root, *root.rglob("*")):
            self._force(path)
        monkeypatch.setattr(shutil, "_use_fd_functions", False)
        for name in (*_MOVES, *_CHANGES):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        monkeypatch.setattr(os, "fsync", self._fsync)

    def fail_at(self, changes, place: Path) -> None:
        """Keep in ``place`` what would be left if the power failed before each of these changes, by its number."""
        self._wanted, self._place = frozenset(changes), place

    def done(self) -> None:
        """To be called when something is reported as done."""
        with self._lock:
            self.told += 1

    def _watched(self, name, real):
        def change(*paths, **options):
            with self._lock:
                places = [Path(path) for path in paths if isinstance(path, str | os.PathLike)]
                if not any(self.root in place.absolute().parents for place in places):
                    return real(*paths, **options)
                self._before_change()
                if name != "link" and name != "mkdir" and os.path.lexists(places[-1]):
                    state = os.lstat(places[-1])
                    if state.st_nlink == 1 or stat.S_ISDIR(state.st_mode):
                        self._used[state.st_ino] += 1  # the number may be used again, for another file
                return real(*paths, **options)

        return change

    def _fsync(self, descriptor) -> None:
        with self._lock:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path == self.root or self.root in path.parents:
                self._before_change()
                self._force(path)

    def _force(self, path) -> None:
        if path.is_dir():
            self._folders[self._identity(path)] = self._names(path)
        else:
            self._files[self._identity(path)] = path.read_bytes()

    def _identity(self, path) -> tuple[int, int]:
        state = os.lstat(path)
        identity = state.st_ino, self._used[state.st_ino]
        if stat.S_ISDIR(state.st_mode):
            self._are_folders.add(identity)
        return identity

    def _names(self, path) -> dict[str, tuple[int, int]]:
        return {name: self._identity(path / name) for name in os.listdir(path)}

    def _before_change(self) -> None:
        self.changes += 1
        if self.changes in self._wanted:
            target = self._place / f"{self.changes}.{self.told}"
            self.states[self.changes] = target
            self._build(self.root, self._identity(self.root), target)

    def _build(self, path: Path | None, identity, target: Path) -> None:
        """What is left of a folder; ``path``: None for one that is gone."""
        target.mkdir(parents=True)
        forced, now = self._folders.get(identity, {}), self._names(path) if path else {}
        for name in sorted({*forced, *now}):
            left = self._choice.choice([forced.get(name), now.get(name)])
            if left is None:
                continue
            place = path / name if path and left == now.get(name) else None
            file = written_file(name)
            name = dead_name(file) if file else name  # its writer is gone, too
            if left in self._are_folders:
                self._build(place, left, target / name)
            else:
                (target / name).write_bytes(self._content(place, left))

    def _content(self, path, identity) -> bytes:
        if identity in self._files:
            return self._files[identity]
        whole = path.read_bytes() if path else b""
        return self._choice.choice([b"", whole, whole[: self._choice.randrange(len(whole) + 1)]])
