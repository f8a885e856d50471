"""What object stores answer is told in a sentence, with the cure that fits."""

import errno
from pathlib import Path

import pytest

from tsl_jax.store.answers import cure_of, reason_of

ASKED = "Generic S3 error: Error performing GET http://host/bucket/x in 1.98s"
TRIED = ", after 10 retries, max_retries: 10, retry_timeout: 180s "
NO = "Server returned non-2xx status code: "
XML = '<?xml version="1.0"?>\n<Error><Code>{}</Code><Message>{}.</Message><HostId>zz</HostId></Error>'


@pytest.mark.parametrize(
    ("text", "reason", "cure"),
    [
        (
            f"{ASKED} - {NO}403 Forbidden: {XML.format('AccessDenied', 'No &amp; no')}",
            "403 Forbidden, AccessDenied: No & no (GET http://host/bucket/x)",
            "credentials",
        ),
        (
            f"{ASKED}{TRIED} - {NO}503 Service Unavailable: {XML.format('SlowDown', 'Slower')}\n\nDebug source:\nXX",
            "503 Service Unavailable, SlowDown: Slower (GET http://host/bucket/x, tried 11 times)",
            "Wait",
        ),
        (f"{ASKED} - {NO}502 Bad Gateway: <html><body>page</body></html>", "502 Bad Gateway (GET http://", "Wait"),
        (f"{ASKED} - {NO}429 Too Many Requests: ", "429 Too Many Requests (GET http://", "Wait"),
        (
            f"{ASKED} - {NO}404 Not Found: {XML.format('NoSuchBucket', 'None')}",
            "404 Not Found, NoSuchBucket",
            "Make the",
        ),
        (f"{ASKED} - {NO}301 Moved: {XML.format('PermanentRedirect', 'There')}", "301 Moved, Permanent", "region"),
        (
            f'{ASKED} - {NO}401 Unauthorized: {{"error": {{"code": 401, "message": "Invalid Credentials"}}}}',
            "401 Unauthorized, Invalid Credentials",
            "credentials",
        ),
        (f"{ASKED} - {NO}409 Conflict: no\nmore", r"409 Conflict, no (GET http://host/bucket/x)", None),
        (
            f"{ASKED}{TRIED} - HTTP error: error sending request",
            "HTTP error: error sending request (GET",
            "AWS_ENDPOINT",
        ),
        (
            f"{ASKED.replace('host', '169.254.169.254')} - {NO}403 Forbidden: denied",
            "403 Forbidden, denied",
            "AWS_ACCESS_KEY_ID",
        ),
        ("No space left on device.", "No space left on device", None),
    ],
)
def test_an_answer_is_a_sentence(text, reason, cure):
    error = OSError(text)
    said = reason_of(error)
    assert said.startswith(reason)
    assert not set("<\n") & set(said)
    assert (cure_of(error) is None) if cure is None else (cure in cure_of(error))


@pytest.mark.parametrize(
    ("file", "said"),
    [(None, ""), ("x", ": 'x'"), (Path("x"), ": 'x'"), (5, ": '5'")],
    ids=["none", "name", "path", "number"],
)
def test_what_the_system_says_names_the_file_however_it_was_given(file, said):
    """By its name, a path, or the number of an open one."""
    assert reason_of(OSError(errno.EBADF, "Bad file", *([] if file is None else [file]))) == f"Bad file{said}"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_the_right_that_is_asked_for_is_that_to_what_was_tried(number):
    error = OSError(number, "no")
    assert cure_of(error) == "Get the right to read what is there"
    assert cure_of(error, "write") == "Get the right to write there, or give another place,"
    assert cure_of(error, "either") == "Get the right to read and write there"


def test_what_is_in_the_way_of_writing_is_no_matter_of_reading():
    for number in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        assert cure_of(OSError(number, "no")) is None
        assert cure_of(OSError(number, "no"), "write") == "Move the file that is in the way"
    full = OSError(errno.ENOSPC, "no")
    assert cure_of(full) == cure_of(full, "write") == "Free some space"
