"""A system that refuses to show files, as it does users without rights, or when a disk fails."""

import builtins
import errno
import io
import os


def refuse(monkeypatch, path, number=errno.EACCES):
    """Let the system refuse a file, or a folder with all that is in it, from now on; ``number``: of its error."""

    def refusing(real):
        def look(given, *more, **options):
            place = whole(given, options.get("dir_fd")) if isinstance(given, str | os.PathLike) else ""
            if f"{place}/".startswith(f"{path}/"):
                raise OSError(number, os.strerror(number), os.fspath(given))
            return real(given, *more, **options)

        return look

    def whole(given, folder):
        return os.fspath(given) if folder is None else os.path.join(os.readlink(f"/proc/self/fd/{folder}"), given)

    for module, name in ((os, "stat"), (os, "scandir"), (os, "listdir"), (io, "open"), (builtins, "open")):
        monkeypatch.setattr(module, name, refusing(getattr(module, name)))
