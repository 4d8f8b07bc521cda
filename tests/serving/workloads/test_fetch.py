"""Downloads against a real server on loopback: whole, resumed, broken, refused, wrong."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rota.core.errors import InputError
from rota.serving.workloads.fetch import HOMES, Home, Unreachable, fetch

DATA = bytes(range(256)) * 4096


class Server(BaseHTTPRequestHandler):
    asked: list = []  # noqa: RUF012
    cut: int | None = None

    def do_GET(self):
        Server.asked.append(self.headers.get("Range"))
        if self.path == "/missing.csv":
            self.send_error(404)
            return
        begin = int(self.headers["Range"][6:-1]) if "Range" in self.headers else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(DATA) - begin))
        self.end_headers()
        self.wfile.write(DATA[begin : self.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Server.asked, Server.cut = [], None
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_whole_file_is_checked_and_fetched_once(address, tmp_path):
    home = Home(f"{address}/t.csv", "none", len(DATA), hashlib.sha256(DATA).hexdigest())
    seen = []
    found = fetch("t", tmp_path, home=home, progress=lambda have, total: seen.append((have, total)))
    assert found.path.read_bytes() == DATA
    assert found.checked
    assert seen[-1] == (len(DATA), len(DATA))
    fetch("t", tmp_path, home=home)
    assert Server.asked == [None]


def test_a_broken_download_goes_on_where_it_stopped(address, tmp_path):
    home = Home(f"{address}/t.csv", "none")
    Server.cut = 300_000
    with pytest.raises(Unreachable, match=r"broke after 300,000 of 1,048,576 bytes"):
        fetch("t", tmp_path, home=home)
    assert not (tmp_path / "t.csv").exists()
    Server.cut = None
    found = fetch("t", tmp_path, home=home)
    assert found.path.read_bytes() == DATA
    assert not found.checked
    assert Server.asked == [None, "bytes=300000-"]
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("home", [{"size": 7}, {"sha256": "0" * 64}])
def test_a_wrong_file_is_not_kept(address, tmp_path, home):
    with pytest.raises(InputError, match=r"expected (7 bytes|SHA-256 0000)"):
        fetch("t", tmp_path, home=Home(f"{address}/t.csv", "none", **home))
    assert list(tmp_path.iterdir()) == []


def test_no_answer_is_one_sentence(address, tmp_path):
    with pytest.raises(Unreachable, match="answers 404"):
        fetch("t", tmp_path, home=Home(f"{address}/missing.csv", "none"))
    with pytest.raises(Unreachable, match="with no network, copy the file"):
        fetch("t", tmp_path, home=Home("http://127.0.0.1:9/t.csv", "none"))
    with pytest.raises(InputError, match="did you mean azure-2023-conv"):
        fetch("azure-2023-con", tmp_path)


def test_homes_are_public_and_licensed():
    assert all(home.url.startswith("https://") and home.licence for home in HOMES.values())
