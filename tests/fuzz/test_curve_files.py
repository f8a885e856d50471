"""Damaged curve files: each is read as an independent reader does, or refused in words; never another error."""

import random
import re
from collections.abc import Callable

import numpy as np
import pytest

from tsl_jax.store import LossCurveError, LossCurveFile

pytestmark = pytest.mark.fuzz

ROWS = "".join(f"{i * 10},1e-3,{5 - 0.01 * i:.4f}\n" for i in range(1, 40))
BASE = f"step,lr,loss\n{ROWS}".encode()
JSON = "".join(f'{{"step": {i}, "loss": {5 - 0.01 * i:.4f}, "lr": 1e-3}}\n' for i in range(1, 40)).encode()
LOG = "".join(f"s:{i} trl:{5 - 0.01 * i:.4f} lr:0.001 norm:1.50\n" for i in range(1, 40)).encode()
DIGITS = ("٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "०१२३४५६७८९", "⁰¹²³⁴⁵⁶⁷⁸⁹")
STEPS = (
    "1e300",
    "-5",
    "9223372036854775808",
    "1e19",
    "1_0",
    "0x10",
    "nan",
    "inf",
    "1.5",
    "00010",
    "+3",
    "7",
    "٣",
    "1e5",
)
RATES = ("1e-3", "nan", "-1", "0", "1e308", "", "1_000")
LOSSES = ("5", "nan", "-3", "1e308", "1e-320", "inf", "", "abc", '"', "5,5")


def base(draw: random.Random) -> bytes:
    return draw.choice((BASE, BASE, JSON, LOG))


def noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(400))


def bytes_changed(draw: random.Random) -> bytes:
    content = bytearray(base(draw))
    for _ in range(draw.randrange(1, 6)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content)


def inserted(draw: random.Random) -> bytes:
    content, more = (
        base(draw),
        draw.choice((b"\0" * draw.randrange(1, 5), b'"', b"'", b"\xe2\x80\xae", b"\n", b"\x1b[")),
    )
    place = draw.randrange(len(content))
    return content[:place] + more + content[place:]


def huge(draw: random.Random) -> bytes:
    return base(draw).replace(b"4.9", b"9" * draw.choice((200, 131_073, 400_000)))


def line_endings(draw: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + base(draw).replace(b"\n", draw.choice((b"\r\n", b"\r", b"\n\n", b"\n\r")))


def other_digits(draw: random.Random) -> bytes:
    return base(draw).decode().translate(str.maketrans("0123456789", draw.choice(DIGITS))).encode()


def fragments(draw: random.Random) -> bytes:
    whole = (
        b"",
        b"\n",
        b"step,loss",
        b"step,lr,loss\n",
        b"step,loss\n1,2",
        BASE.decode().encode("utf-16"),
        b" " * 1000,
    )
    return draw.choice(
        (*whole, b";", b"[" * 9_000, b'{"a":' * 9_000, b"PAR1", b"{}", b"[]", b"[{}]", b'{"step": 1e999}')
    )


def cut(draw: random.Random) -> bytes:
    content = base(draw)
    return content[: draw.randrange(len(content))]


def extreme(draw: random.Random) -> bytes:
    rows = [",".join(draw.choice(values) for values in (STEPS, RATES, LOSSES)) for _ in range(draw.randrange(1, 6))]
    return ("step,lr,loss\n" + "\n".join(rows)).encode()


def header(draw: random.Random) -> bytes:
    return BASE.replace(b"step", draw.choice((b"STEP", b" Step ", b"step,step", b"loss", b'"st\nep"', b"a - loss")))


def separators(draw: random.Random) -> bytes:
    return BASE.replace(b",", draw.choice((b";", b"\t", b",,", b"|", b" ", b", ")))


def scales(draw: random.Random) -> bytes:
    rows = [f"{10**i},{10.0**-i},{draw.choice((1e30, 1e-30, 0, -1, 5))}" for i in range(draw.randrange(1, 25))]
    return ("step,lr,loss\n" + "\n".join(rows)).encode()


def lines_in_disorder(draw: random.Random) -> bytes:
    first, *rest = BASE.splitlines(keepends=True)
    start = draw.randrange(len(rest))
    again = rest[start : start + draw.randrange(1, 20)]
    return first + b"".join(draw.choice((rest[:30] + again, draw.sample(rest, 20), again + rest)))


CHANGES: tuple[Callable[[random.Random], bytes], ...] = (
    *(noise, bytes_changed, bytes_changed, inserted, huge, line_endings, other_digits, fragments, cut, extreme),
    *(header, separators, scales, lines_in_disorder),
)


def numbers_of_lines(content: bytes) -> list[set[float]]:
    """All that could be a number in each line, by another way than the reader's."""
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    cells = (re.split(r"[,;|\s:{}\[\]\"]+", line) for line in re.split(r"[\r\n]+", text))
    return [{value for cell in line for value in floats(cell)} for line in cells]


def floats(cell: str) -> list[float]:
    try:
        return [float(cell)] if cell.isascii() and "_" not in cell else []
    except ValueError:
        return []


def check(content: bytes, path) -> bool:
    """Whether a file is read; it fails where it is read wrongly, or refused otherwise than in words."""
    path.write_bytes(content)
    refusal = None
    try:
        columns, notes = LossCurveFile(path).columns(("step", "loss"), ("learning_rate",))
    except LossCurveError as error:
        refusal = str(error)
    if refusal is not None:
        assert 40 < len(refusal) < 2_000, refusal
        return False
    step = columns["step"]
    assert len(step)
    assert all(np.isfinite(values).all() for values in columns.values())
    assert (step >= 0).all()
    assert (np.diff(step) > 0).all()
    assert (step == np.floor(step)).all()
    lines = numbers_of_lines(content)
    for row in zip(*columns.values(), strict=True):
        assert any(set(row) <= line for line in lines), f"no line holds {row}"
    if not notes and content.startswith(b"step,lr,loss\n"):  # then nothing that looks like a row is missing
        whole = sum(len(line) == 3 for line in lines)
        assert len(step) >= whole, f"{whole} lines, {len(step)} rows, no note"
    return True


def test_damaged_files_are_read_right_or_refused_in_words(tmp_path, choice, cases):
    path, number, read = tmp_path / "curve.csv", 20 * cases, 0
    for place in range(number):
        content = choice.choice(CHANGES)(choice)
        try:
            read += check(content, path)
        except Exception:
            kept = path.with_name("failed.csv")
            kept.write_bytes(content)
            print(f"file {place}: kept as {kept}")
            raise
    assert number / 10 < read < number * 9 / 10  # both ways are tried
