"""Real text at hand: what comes with Python and its installed packages, or a folder of files."""

import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_SUFFIXES = {".c", ".cfg", ".h", ".html", ".json", ".md", ".py", ".pyi", ".rst", ".tex", ".toml", ".txt", ".xml"}
_LEAST_BYTES = 1024


def split_texts(
    folder: str | None, sequences: dict[str, int], context: int, *, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict]:
    """Cut text into splits that have no file in common.

    Files that are equal byte by byte count once. Each gives one passage from a random place, so that no long file
    dominates; passages are as short as the text at hand allows.

    Args:
        folder: of text files; by default what comes with Python.
        sequences: how many of each split.
        context: bytes that are predicted in each.
        seed: of the order of files and of the places.

    Returns:
        By split (sequences, context + 1) bytes, of which the last ``context`` are predicted, each from those before it
        in its row; and what the text was, for the record.

    Raises:
        SystemExit: there is too little text.
    """
    contents = {hashlib.blake2b(text, digest_size=16).hexdigest(): text for text in _contents(folder)}
    rng = np.random.default_rng(seed)
    texts = [contents[digest] for digest in sorted(contents)]
    order = rng.permutation(len(texts))
    needed = {name: number * (context + 1) for name, number in sequences.items()}
    longest = max(map(len, texts), default=0)
    passage = 2 * _LEAST_BYTES
    while sum(min(len(text), passage) for text in texts) < 1.05 * sum(needed.values()) + passage * len(needed):
        if passage > longest:
            raise SystemExit(
                f"text: {sum(map(len, texts)):,} bytes in {len(texts):,} files, {sum(needed.values()):,} wanted; name "
                "a folder with more (--text FOLDER)"
            )
        passage *= 2
    pieces = iter([_passage(texts[index], passage, rng) for index in order])
    rows, files = {}, {}
    for name, size in needed.items():
        held = []
        while sum(map(len, held)) < size:
            held.append(next(pieces))
        rows[name] = np.frombuffer(b"".join(held), np.uint8)[:size].reshape(-1, context + 1)
        files[name] = len(held)
    return rows, {
        "source": "a folder of files" if folder else "Python's standard library, documents of installed packages",
        "files": len(texts),
        "passage_bytes": passage,
        "digest": hashlib.blake2b(b"".join(map(np.ndarray.tobytes, rows.values())), digest_size=8).hexdigest(),
        "files_of_splits": files,
    }


def _passage(text: bytes, size: int, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(max(len(text) - size, 0) + 1))
    return text[start : start + size]


def _contents(folder: str | None) -> Iterator[bytes]:
    for path in sorted(_files(folder)):
        text = path.read_bytes()
        # Zero bytes are no text.
        if len(text) >= _LEAST_BYTES and b"\0" not in text:
            yield text


def _files(folder: str | None) -> Iterator[Path]:
    if folder is not None:
        yield from (path for path in Path(folder).rglob("*") if path.suffix in _SUFFIXES and path.is_file())
        return
    library, packages = (Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib"))
    for path in library.rglob("*"):
        parts = path.relative_to(library).parts
        if path.suffix in {".py", ".txt", ".rst"} and not {"site-packages", "dist-packages", "test", "tests"} & {
            *parts
        }:
            yield path
    for path in packages.rglob("*"):
        document = path.suffix in {".md", ".rst", ".txt"} or path.name == "METADATA" or "LICENSE" in path.name.upper()
        if document and path.is_file():
            yield path
