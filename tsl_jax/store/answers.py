"""What stores that fail answer, in a sentence, and what to do: obstore passes on pages of XML, and more inside."""

import errno
import html
import re
from typing import Literal

#: How obstore tells of a request that failed.
_REQUEST = re.compile(
    r"Error performing (?P<method>[A-Z]+) (?P<url>\S+) in \S+?s(?:, after (?P<retries>\d+) retries[^-]*?)?\s+- "
    r"(?P<answer>.*)",
    re.DOTALL,
)
_STATUS = re.compile(
    r"Server returned non-2xx status code: (?P<status>(?P<code>\d+)[^:<]*)(?::\s*(?P<body>.*))?", re.DOTALL
)
#: The words of an error in the body of an answer: XML of S3, Google and Azure, JSON of Google.
_WORDS = {
    "code": re.compile(r"<Code>(.*?)</Code>", re.DOTALL),
    "message": re.compile(r"<Message>(.*?)</Message>|\"message\":\s*\"(.*?)\"", re.DOTALL),
}
_MOST_WORDS = 200
#: Where obstore asks for credentials when it was given none: the machine's own, in the cloud.
_MACHINE = "//169.254."

_CREDENTIALS = (
    "Check the credentials and their rights (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or what "
    "your cloud asks for)"
)
_BUCKET = "Make the bucket or give the name of another"
_REGION = "Give the region of the bucket (AWS_REGION in the environment)"
_BUSY = "Wait until the store takes requests again"
_AWAY = (
    "Check the path, the connection and the address of the store (AWS_ENDPOINT_URL in the environment, if it is set)"
)
_BUSY_CODES = (429, 500, 502, 503, 504)
#: What to do where a right is missing, by what was tried; "either" where nobody knows that.
_RIGHTS = {
    "read": "Get the right to read what is there",
    "write": "Get the right to write there, or give another place,",
    "either": "Get the right to read and write there",
}
#: A right is missing; or it is no place to write to, by number or by the name of obstore's error.
_DENIED = (errno.EACCES, errno.EPERM)
_NO_PLACE, _NO_PLACE_NAMES = (errno.EROFS, errno.ENOENT), ("PermissionDeniedError", "UnauthenticatedError")
#: A file lies where a folder should be, or the other way round.
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
#: By the number of the operating system's error, if no other copy of the data would help.
_OF_NUMBERS = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EROFS: "Give a place that can be written",
    errno.ELOOP: "Replace the link that leads to itself",
    errno.ENAMETOOLONG: "Give a shorter name",
    errno.EMFILE: "Allow this process more open files (ulimit -n)",
    errno.ENFILE: "Close other programs' files",
    errno.EIO: "Check the disk, or the connection to it",
    errno.ESTALE: "Check the disk, or the connection to it",
    errno.ETIMEDOUT: "Check the disk, or the connection to it",
}


def reason_of(error: Exception) -> str:
    """What an error of a store says, without pages and without a full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {str(error.filename)!r}"
    text = str(error).partition("\n\nDebug source")[0].strip()
    request = _REQUEST.search(text)
    if request is None:
        return text.rstrip(".")
    tried = "" if request["retries"] is None else f", tried {int(request['retries']) + 1} times"
    return f"{_said(request['answer'])} ({request['method']} {request['url']}{tried})"


def cure_of(error: BaseException | None, tried: Literal["read", "write", "either"] = "read") -> str | None:
    """What to do about something that a disk or an object store refused, as the first half of a sentence.

    None for all other errors, of what is not there or damaged.

    Args:
        error: what was raised.
        tried: what was refused, reading or writing; ``"either"`` where that is not known.
    """
    number = getattr(error, "errno", None)
    if tried == "write":
        if number in (*_DENIED, *_NO_PLACE) or type(error).__name__ in _NO_PLACE_NAMES:
            return _RIGHTS["write"]
        if number in _IN_THE_WAY:
            return "Move the file that is in the way"
    if number in _DENIED:
        return _RIGHTS[tried]
    if number in _OF_NUMBERS:
        return _OF_NUMBERS[number]
    request = _REQUEST.search(str(error))
    if request is None:
        return None
    if _MACHINE in request["url"]:
        return _CREDENTIALS
    answer = request["answer"]
    status = _STATUS.match(answer)
    if status is None:
        return _REGION if "redirect" in answer else _AWAY
    if is_missing_bucket(error):
        return _BUCKET
    code = int(status["code"])
    if code in (301, 307) or "AuthorizationHeaderMalformed" in answer:
        return _REGION
    return _CREDENTIALS if code in (401, 403) else _BUSY if code in _BUSY_CODES else None


def is_missing_bucket(error: BaseException | None) -> bool:
    """Whether a request failed because there is no such bucket."""
    return re.search("NoSuchBucket|ContainerNotFound|bucket does not exist", str(error)) is not None


def _said(answer: str) -> str:
    """An answer without its page."""
    status = _STATUS.match(answer)
    if status is None:
        return answer.partition("<")[0].strip().rstrip(".:")
    words = [status["status"].strip()]
    body = (status["body"] or "").strip()
    found = {name: pattern.search(body) for name, pattern in _WORDS.items()}
    told = [next(part for part in match.groups() if part is not None) for match in found.values() if match]
    if told:
        words.append(": ".join(html.unescape(part).strip() for part in told))
    elif body and not body.startswith(("<", "{")):
        words.append(body.splitlines()[0][:_MOST_WORDS])
    return ", ".join(words).rstrip(".")
