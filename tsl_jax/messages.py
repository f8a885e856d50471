"""Which errors are messages to users, and what the command calls what they name.

All other errors are mistakes of the package, whose traceback is wanted.
"""

import dis
import re
import traceback

_PACKAGE = f"{__name__.partition('.')[0]}."
#: Of an error that is no message, though it is raised again elsewhere.
_MISTAKE = "_tsl_mistake"
_RAISE = dis.opmap["RAISE_VARARGS"]
#: What Python calls an argument, and what it is called here.
_WORDS = (
    ("pass overwrite=True", "give --overwrite"),
    ("with overwrite=True", "with --overwrite"),
    ("go on without its tokens with on_bad_chunk='skip' (--on-bad-chunk skip of tsl fit)", "give --on-bad-chunk skip"),
    ("missing_chunks='as-nan' (--missing-chunks as-nan of", "--missing-chunks as-nan (of"),
    ("missing_chunks='as-fill' (--missing-chunks as-fill of", "--missing-chunks as-fill (of"),
    ("with --deep (fit_store(..., deep=True))", "with --deep"),
    ("scale='linear'", "--scale linear"),
)


def is_message(error: BaseException) -> bool:
    """Whether an error says something to the user.

    It does if its class is the operating system's or one of this package, or if a ``raise`` in the package's own code
    made it, as checks of arguments make their `ValueError`. What any other line runs into (``int("x")``, shapes that do
    not fit) is a mistake, in the package as in the libraries that it calls.
    """
    if getattr(error, _MISTAKE, False):
        return False
    if isinstance(error, OSError) or type(error).__module__.startswith(_PACKAGE):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE


def marked(error: Exception) -> Exception:
    """An error that another process can raise again without becoming a message there, if it is none here."""
    if not is_message(error):
        setattr(error, _MISTAKE, True)
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    return error


def in_words_of_the_command(text: str) -> str:
    """A message of the library with the names that the command line has for its arguments."""
    for python, command in _WORDS:
        text = text.replace(python, command)
    return re.sub(r"FitOptions\.(\w+)", lambda match: "--" + match[1].replace("_", "-"), text)
