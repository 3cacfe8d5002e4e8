"""The servers of tests/support/servers.py are there, can be harmed as tests need it, and leave nothing."""

import contextlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest


def test_every_client_reaches_the_bucket_by_the_environment(bucket):
    import obstore
    import pyarrow.fs

    store = obstore.store.from_url(bucket)
    obstore.put(store, "a/b", b"abc", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "a/b", b"other", mode="create")
    file_system, path = pyarrow.fs.FileSystem.from_uri(f"{bucket}/a/b")
    with file_system.open_input_file(path) as file:
        assert file.read() == b"abc"


def test_delta_writes_where_the_environment_points(bucket):
    import deltalake
    import pyarrow

    deltalake.write_deltalake(f"{bucket}/table", pyarrow.table({"x": [1, 2]}))
    assert deltalake.DeltaTable(f"{bucket}/table").version() == 0


def test_the_way_to_a_server_can_be_cut_and_mended(s3_server, cuttable):
    proxy = cuttable(s3_server.port)

    def status() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{proxy.port}/", timeout=60) as answer:
            return answer.status

    assert status() == 200
    proxy.cut()
    with pytest.raises(urllib.error.URLError, match="refused"):
        status()
    proxy.mend()
    assert status() == 200


def test_a_killed_nats_server_comes_back_with_its_streams(nats_server):
    import asyncio

    import nats

    async def publish_and_count() -> int:
        client = await nats.connect(nats_server.url)
        stream = client.jetstream()
        await stream.add_stream(name="s", subjects=["s.>"])
        await stream.publish("s.a", b"1")
        messages = (await stream.stream_info("s")).state.messages
        await client.close()
        return messages

    assert asyncio.run(publish_and_count()) == 1
    nats_server.kill()
    nats_server.start()
    assert asyncio.run(publish_and_count()) == 2


def test_a_consumer_reads_what_was_produced(kafka_cluster):
    from confluent_kafka import Consumer, Producer

    servers = {"bootstrap.servers": kafka_cluster.bootstrap_servers}
    producer = Producer(servers)
    producer.produce("alerts", b"one")
    assert producer.flush(60) == 0
    consumer = Consumer({**servers, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["alerts"])
    assert consumer.poll(60).value() == b"one"
    consumer.close()


_HOLDER = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from server_processes import ServerProcess
command = [sys.executable, "-m", "http.server", sys.argv[2], "-b", "127.0.0.1"]
server = ServerProcess(command, int(sys.argv[2]), Path(sys.argv[3]))
server.start()
print(server.pid, flush=True)
threading.Event().wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_server_ends_with_the_process_of_its_tests(tmp_path):
    import psutil
    from ports import reserved_port

    support = Path(__file__).parent / "support"
    with reserved_port() as port:
        command = [sys.executable, "-c", _HOLDER, str(support), str(port), str(tmp_path / "output.txt")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            server = psutil.Process(int(holder.stdout.readline()))
            holder.send_signal(signal.SIGKILL)
        end_s = time.monotonic() + 60
        while not has_ended(server):
            assert time.monotonic() < end_s
            time.sleep(0.02)


def has_ended(process):
    """Return whether it has, also where nobody takes note of the end of an orphan."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True
