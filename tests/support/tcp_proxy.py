"""A network between a client and a server that a test can cut, freeze, slow down and mend."""

import contextlib
import socket
import threading
import time

_HOST = "127.0.0.1"
_CHUNK_BYTES = 65_536


class TcpProxy:
    """Passes bytes between its port and a server's, until told otherwise.

    Parameters
    ----------
    port, server_port
        Where it listens, and where the server does, both on this machine.

    Attributes
    ----------
    delay_s
        Waited before each chunk of at most 64 KiB, in either direction.
    connections
        How many were accepted so far.
    """

    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self.delay_s = 0.0
        self.connections = 0
        self._server_port = server_port
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.mend()

    def cut(self) -> None:
        """Break every connection and refuse new ones, as when the server's process is gone."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            listener.close()
        self._flowing.set()
        self.break_connections()

    def break_connections(self) -> None:
        """Break every connection there is; new ones are accepted."""
        with self._lock:
            broken, self._open = self._open, set()
        for end in broken:
            _close(end)

    def freeze(self) -> None:
        """Pass nothing on any more and break nothing, as when a cable is pulled; `mend` lets it flow."""
        self._flowing.clear()

    def mend(self) -> None:
        """Accept and pass on again."""
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server((_HOST, self.port), backlog=128)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return  # cut
            with self._lock:
                if listener is not self._listener:  # cut since it was accepted
                    _close(client)
                    return
                self._open.add(client)
                self.connections += 1
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((_HOST, self._server_port))
        except OSError:
            with self._lock:
                self._open.discard(client)
            _close(client)
            return
        with self._lock:
            if client not in self._open:  # broken meanwhile
                _close(server)
                return
            self._open.add(server)
        threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
        self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                time.sleep(self.delay_s)
                self._flowing.wait()
                target.sendall(chunk)
        with self._lock:
            self._open -= {source, target}
        _close(source)
        _close(target)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
