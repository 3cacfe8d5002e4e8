"""A webhook's other end on this machine, for the tests of sinks."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "T0PS3CRET"


class Receiver(ThreadingHTTPServer):
    """A web server on this machine that keeps what it gets and answers as told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.got, self.headers_got = 200, [], []
        self.arrived = threading.Condition()

    def url(self, path=SECRET):
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def wait_for(self, count):
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, timeout=60)
        return self.got


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.status
        with self.server.arrived:  # before the answer: whoever has got it may send the next one
            self.server.got.append((self.path, json.loads(body)))
            self.server.headers_got.append(dict(self.headers))
            self.server.arrived.notify_all()
        if 300 <= status < 400:
            self.send_response(status)
            self.send_header("Location", self.server.url("elsewhere"))
        else:
            self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def received() -> Iterator[Receiver]:
    """Give a running web server."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
