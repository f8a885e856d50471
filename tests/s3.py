"""A real S3 server on this machine (that of moto), and a proxy before it that answers late, or not at all."""

import contextlib
import http.client
import http.server
import subprocess
import sys
import threading
import time
import urllib.request

BUCKET = "bucket"
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
#: What S3 answers when it is asked too often.
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message><RequestId>1</RequestId></Error>"
)


@contextlib.contextmanager
def s3_server():
    """A server with an empty bucket; its port."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        port = int(process.stdout.readline())
        ask(port, "PUT", f"/{BUCKET}")
        try:
            yield port
        finally:
            process.stdin.close()
            process.kill()


def ask(port, method, path, body=None):
    """What the server answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, method=method)
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


@contextlib.contextmanager
def wrong_credentials(port):
    """The server asks who is there, and knows nobody."""
    ask(port, "POST", "/moto-api/reset-auth", b"0")
    try:
        yield
    finally:
        ask(port, "POST", "/moto-api/reset-auth", b"inf")


def environment(port):
    """Where obstore looks for the server, as environment variables."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


class Proxy:
    """Passes requests on to a server, with its own answer to some.

    Args:
        server: port of the server.

    Attributes:
        port: where it listens.
        delay: seconds before each request is passed on.
        answer: told (method, path, how many requests there were), returns None to pass it on, or (status, body).
        requests: (method, path, headers) of all requests.
    """

    def __init__(self, server):
        self.delay, self.answer, self.requests = 0.0, lambda *_: None, []
        self._server, self._own = server, threading.local()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()

    def passed_on(self, method, path, headers, body):
        """Status, headers and body of the server's answer."""
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection("127.0.0.1", self._server, timeout=60)
        connection = self._own.connection
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError):  # of a client that was killed
            super().handle_one_request()

    def _any(self):
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.requests.append((self.command, self.path, dict(self.headers)))
        time.sleep(proxy.delay)
        own = proxy.answer(self.command, self.path, len(proxy.requests))
        if own is None:
            status, headers, content = proxy.passed_on(self.command, self.path, dict(self.headers), body)
        else:
            (status, content), headers = own, [("Content-Type", "application/xml")]
        self.send_response_only(status)
        length = dict(headers).get("Content-Length") if self.command == "HEAD" else None
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any
