"""What names a store: paths, URLs, and what looks like one of them."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tsl_jax.store import StoreError, StoreNotFoundError, create_losses, locate, open_losses


@pytest.mark.parametrize("name", ["a::b", "::", "://x", "simplecache::", "zip::x", "a b::c://d", "C:\\x", "x:y"])
def test_what_is_no_url_is_a_path(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    create_losses(name, np.ones((2, 3)), checkpoints={"step": [1, 2, 3]})
    assert locate(name).directory == Path(name).absolute()
    assert open_losses(name).num_tokens == 2
    assert (tmp_path / name).is_dir()


@pytest.mark.parametrize("url", ["file://{}", "FILE://{}", "file://localhost{}"])
def test_urls_of_files(tmp_path, url):
    create_losses(tmp_path / "a b.zarr", np.ones((2, 3)), checkpoints={"step": [1, 2, 3]})
    assert open_losses(url.format(f"{tmp_path}/a%20b.zarr")).num_tokens == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("~nobody-of-this-name/x", "no user of this name; give the whole path, or ./~nobody"),
        ("", "got an empty path"),
        ("a\0b", r"'a\\x00b': is no path \(embedded null byte\); give another name"),
        ("a\ud800b", r"'a\\ud800b': is no path \(.*surrogates not allowed\)"),
        ("file://", "expected three slashes"),
        ("file://host/x", "expected three slashes"),
        ("http://", "is no URL of a store .*expected one such as"),
        ("https://", "is no URL of a store"),
        ("s3://", "is no URL of a store"),
        ("a::c://d", "'a' is no protocol that fsspec knows"),
        ("memory::c://d", "'c' is no protocol that fsspec knows"),
        ("foo://d", "'foo' is no protocol that fsspec knows"),
        ("zip::memory://x", r"zip::memory://x: cannot be opened \(FileNotFoundError"),
    ],
)
def test_names_of_no_store_are_refused_in_a_sentence(name, message):
    if "::" in name or name.startswith("foo"):
        pytest.importorskip("fsspec")
    with pytest.raises(StoreError, match=message):
        locate(name)


def test_plain_http_is_read(tmp_path):
    """A server on this machine: obstore refuses plain http unless told otherwise."""
    import http.server
    import threading

    create_losses(tmp_path / "a.zarr", np.arange(6.0).reshape(2, 3), checkpoints={"step": [1, 2, 3]})

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            store = open_losses(f"http://127.0.0.1:{server.server_port}/a.zarr")
            np.testing.assert_array_equal(store.read(slice(0, 2)), np.arange(6.0).reshape(2, 3))
        finally:
            server.shutdown()
            thread.join()


def test_a_zip_file_with_a_folder_around_the_store_names_the_cause(tmp_path):
    create_losses(tmp_path / "inner.zarr", np.ones((2, 3)), checkpoints={"step": [1, 2, 3]})
    files = [path for path in (tmp_path / "inner.zarr").rglob("*") if path.is_file()]
    for name, root in (("good.zip", tmp_path / "inner.zarr"), ("bad.zip", tmp_path)):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for path in files:
                file.write(path, os.fspath(path.relative_to(root)))
    assert open_losses(tmp_path / "good.zip").num_tokens == 2
    with pytest.raises(StoreNotFoundError, match=r"lies in its folder 'inner\.zarr', .*from inside: cd 'inner\.zarr'"):
        open_losses(tmp_path / "bad.zip")
