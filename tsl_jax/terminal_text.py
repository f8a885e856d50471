"""Text out of a store, made harmless: a name may hold what a terminal obeys or a page takes for its own."""

import unicodedata

#: What has a meaning in text, and is shown as it is.
_KEPT = "\n\t"
#: Categories of Unicode that are shown as escapes: controls, formats such as changes of direction, surrogates.
_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    r"""Text with everything that is not shown, but does something, as an escape.

    Args:
        text: any; line ends and tabs are kept.

    Returns:
        The text itself where there is nothing of that kind.

    Example:
        >>> printable("red \x1b[31m, back \u202e.")
        'red \\x1b[31m, back \\u202e.'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _ESCAPED:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
