import asyncio
import socket

import pytest

pytest.importorskip("uvicorn")

from thermograd.store.listening.connections import BoundedProtocol


def test_an_answers_body_does_not_wait_for_its_head_to_be_acknowledged():
    """40 ms an answer: asyncio leaves Nagle's algorithm on where a listener was made without TCP's number."""
    import uvicorn

    config = uvicorn.Config(lambda *_: None, http=BoundedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)

    async def option_of_a_connection() -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.ensure_future(server.serve([listener]))
            _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            while not server.server_state.connections:
                await asyncio.sleep(0.01)
            (connection,) = server.server_state.connections
            accepted = connection.transport.get_extra_info("socket")
            option = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            server.should_exit = True
            await serving
        return int(option)

    assert asyncio.run(option_of_a_connection()) != 0
