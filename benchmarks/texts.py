"""Real text at hand: what comes with Python and its installed packages, or a folder of files."""

import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_SUFFIXES = {".c", ".cfg", ".h", ".html", ".json", ".md", ".py", ".pyi", ".rst", ".tex", ".toml", ".txt", ".xml"}
_LEAST_BYTES = 1024
_CODE = {".c", ".h", ".py", ".pyi"}

#: Kinds of text that a benchmark can ask for apart.
DOMAINS = ("code", "documents")


def split_texts(
    folder: str | None, sequences: dict[str, int], context: int, *, seed: int = 0, domain: str | None = None
) -> tuple[dict[str, np.ndarray], dict]:
    """Cut text into splits that have no file in common.

    Files that are equal byte by byte count once. Each gives one passage from a random place, so that no long file
    dominates, and passages are as short as they may be, so that each split has text from many files.

    Args:
        folder: of text files; by default what comes with Python.
        sequences: how many of each split.
        context: bytes that are predicted in each.
        seed: of the order of files and of the places.
        domain: of `DOMAINS`, by the files' suffixes; by default all files.

    Returns:
        By split (sequences, context + 1) bytes, of which the last ``context`` are predicted, each from those before it
        in its row; and what the text was, for the record.

    Raises:
        SystemExit: there is too little text.
    """
    contents = {hashlib.blake2b(text, digest_size=16).hexdigest(): text for text in _contents(folder, domain)}
    rng = np.random.default_rng(seed)
    texts = [contents[digest] for digest in sorted(contents)]
    order = rng.permutation(len(texts))
    # The smaller splits get more of the files than of the bytes.
    shares = np.array(list(sequences.values()), float) ** 0.5
    ends = np.round(np.cumsum(shares) / np.sum(shares) * len(texts)).astype(int)
    rows, files = {}, {}
    for (name, number), part in zip(sequences.items(), np.split(order, ends[:-1]), strict=True):
        files[name] = len(part)
        rows[name] = _rows([texts[index] for index in part], number, context, rng)
    return rows, {
        "source": "a folder of files" if folder else "Python's standard library, documents of installed packages",
        "files": files,
        "digest": hashlib.blake2b(b"".join(map(np.ndarray.tobytes, rows.values())), digest_size=8).hexdigest(),
    }


def split_documents(
    folder: str | None,
    sequences: dict[str, int],
    context: int,
    *,
    most: int = 16,
    seed: int = 0,
    domain: str | None = None,
) -> tuple[dict[str, np.ndarray], dict]:
    """Cut text into splits of one distribution: whole documents fall to each by chance, and give rows by one rule.

    Files that are equal byte by byte count once. A document is cut into rows from its start, of which at most ``most``
    are taken, at random; the rows of a split's documents are shuffled, and thinned to the number that is wanted.

    Args:
        folder: of text files; by default what comes with Python.
        sequences: how many rows of each split.
        context: bytes that are predicted in each.
        most: rows that a document may give.
        seed: of all that is random.
        domain: of `DOMAINS`, by the files' suffixes; by default all files.

    Returns:
        As `split_texts`.

    Raises:
        SystemExit: there is too little text.
    """
    contents = {hashlib.blake2b(text, digest_size=16).hexdigest(): text for text in _contents(folder, domain)}
    rng = np.random.default_rng(seed)
    documents = [contents[digest] for digest in sorted(contents)]
    shares = np.sqrt(list(sequences.values()))  # the smaller splits get more of the documents than of the rows
    split = rng.choice(len(shares), len(documents), p=shares / shares.sum())
    rows = {}
    for at, (name, number) in enumerate(sequences.items()):
        cut = [_cut(documents[k], context + 1, most, rng) for k in np.flatnonzero(split == at)]
        found = np.concatenate([*cut, np.empty((0, context + 1), np.uint8)])
        if len(found) < number:
            raise SystemExit(
                f"text: {len(found):,} rows of {context + 1} bytes for {name!r} where {number:,} are wanted; name a "
                "folder with more documents (--text FOLDER)"
            )
        rows[name] = found[rng.permutation(len(found))[:number]]
    return rows, {
        "source": "a folder of files" if folder else "Python's standard library, documents of installed packages",
        "documents": {name: int(np.sum(split == at)) for at, name in enumerate(sequences)},
        "digest": hashlib.blake2b(b"".join(map(np.ndarray.tobytes, rows.values())), digest_size=8).hexdigest(),
    }


def _cut(text: bytes, size: int, most: int, rng: np.random.Generator) -> np.ndarray:
    number = len(text) // size
    whole = np.frombuffer(text, np.uint8)[: number * size].reshape(number, size)
    return whole[rng.permutation(number)[:most]]


def _rows(texts: list[bytes], number: int, context: int, rng: np.random.Generator) -> np.ndarray:
    size, lengths = number * (context + 1), np.array([len(text) for text in texts])
    if lengths.sum() < size:
        raise SystemExit(
            f"text: {lengths.sum():,} bytes in {len(texts):,} files where {size:,} are wanted; name a folder with more "
            "(--text FOLDER)"
        )
    passage = -(-size // len(texts))
    while np.minimum(lengths, passage).sum() < size:
        passage += -(-passage // 50)
    joined = b"".join(_passage(text, passage, rng) for text in texts)
    return np.frombuffer(joined, np.uint8)[:size].reshape(-1, context + 1)


def _passage(text: bytes, size: int, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(max(len(text) - size, 0) + 1))
    return text[start : start + size]


def _contents(folder: str | None, domain: str | None) -> Iterator[bytes]:
    for path in sorted(_files(folder)):
        if domain is not None and (path.suffix in _CODE) != (domain == "code"):
            continue
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
