"""Which errors are messages to users; all others are mistakes of the package, whose traceback is wanted."""

import dis

_PACKAGE = f"{__name__.partition('.')[0]}."
_RAISE = dis.opmap["RAISE_VARARGS"]


def is_message(error: BaseException) -> bool:
    """Whether an error says something to the user.

    It does if its class is the operating system's or one of this package, or if a ``raise`` in the package's own code
    made it, as checks of arguments make their `ValueError`. What any other line runs into (``int("x")``, shapes that do
    not fit) is a mistake, in the package as in the libraries that it calls.
    """
    if isinstance(error, OSError) or type(error).__module__.startswith(_PACKAGE):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE
