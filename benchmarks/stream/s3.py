"""As much of an S3 server as a fit needs, over a folder, which answers each request late: a store that is far away.

    python -m benchmarks.stream.s3 FOLDER SECONDS

Prints its port, and when its input ends what it was asked, as JSON: of each request when it came and was answered
(seconds since 1970), and its method and key. What a real server says to wrong requests is not its matter: tests use
that of moto, whose own time would be most of what is measured here.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

_TIME = "2026-01-01T00:00:00.000Z"
_LIST = '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>'
_ENTRY = "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>"
_NO_KEY = b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"

#: When a request came and was answered, and what it was.
Request = tuple[float, float, str]


class Server:
    """Serves a folder; the first part of a path, the bucket, is whatever it is."""

    def __init__(self, root: Path, delay: float) -> None:
        self._root, self._delay = root, delay
        self.requests: list[Request] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes on a connection, one request after the other."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                came = time.time()
                await asyncio.sleep(self._delay)
                status, more, content = self._answer(method, target, headers, body)
                more = {"Content-Length": str(len(content)), **more}
                lines = [f"HTTP/1.1 {status}", *(f"{name}: {text}" for name, text in more.items()), "", ""]
                writer.write("\r\n".join(lines).encode())
                writer.write(b"" if method == "HEAD" else content)
                await writer.drain()
                self.requests.append((came, time.time(), f"{method} {unquote(target.partition('/')[2])}"))
        writer.close()

    def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[str, dict, bytes]:
        address = urlsplit(target)
        key = unquote(address.path).lstrip("/").partition("/")[2]
        file = self._root / key
        if method == "POST":
            for name in re.findall("<Key>(.*?)</Key>", body.decode()):
                (self._root / name).unlink(missing_ok=True)
            return "200 OK", {}, b"<DeleteResult></DeleteResult>"
        if not key:
            return "200 OK", {}, self._listed(parse_qs(address.query)).encode()
        if method == "PUT":
            if headers.get("if-none-match") == "*" and file.is_file():
                return "412 Precondition Failed", {}, b""
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            return "200 OK", {"ETag": _tag(file)}, b""
        if method == "DELETE":
            file.unlink(missing_ok=True)
            return "204 No Content", {}, b""
        if not file.is_file():
            return "404 Not Found", {}, _NO_KEY
        more, size = {"ETag": _tag(file), "Last-Modified": _HTTP_TIME}, file.stat().st_size
        if method == "HEAD":
            return "200 OK", {**more, "Content-Length": str(size)}, b""
        if "range" not in headers:
            return "200 OK", more, file.read_bytes()
        first, _, last = headers["range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else size - int(last)
        stop = min(int(last) + 1, size) if first and last else size
        with file.open("rb") as opened:
            opened.seek(start)
            content = opened.read(stop - start)
        return "206 Partial Content", {**more, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}, content

    def _listed(self, query: dict[str, list[str]]) -> str:
        prefix, whole = query.get("prefix", [""])[0], "delimiter" not in query
        found, folders = [], set()
        for file in (self._root / prefix).rglob("*") if (self._root / prefix).is_dir() else ():
            key = file.relative_to(self._root).as_posix()
            inside = key[len(prefix) :].lstrip("/")
            if not whole and "/" in inside:
                folders.add(f"{prefix}{inside.partition('/')[0]}/")
            elif file.is_file():
                found.append(_ENTRY.format(key, _TIME, _tag(file), file.stat().st_size))
        common = (f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in sorted(folders))
        return _LIST.format("".join([*found, *common]))


_HTTP_TIME = "Thu, 01 Jan 2026 00:00:00 GMT"


def _tag(file: Path) -> str:
    stat = file.stat()
    return hashlib.md5(f"{stat.st_mtime_ns} {stat.st_size}".encode()).hexdigest()


async def _serve(root: Path, delay: float) -> None:
    server = Server(root, delay)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0, limit=2**26)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(server.requests), flush=True)
    os._exit(0)  # open connections would be told of, one by one


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
