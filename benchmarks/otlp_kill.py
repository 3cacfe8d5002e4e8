"""OTLP: what a receiver that is killed had acknowledged, and how many points a second it takes.

An OpenTelemetry SDK in another process sends 1,000 points an export (among them five steps' loss and norm)
until each export is acknowledged; the receiver is killed while it sends and started again. Then every point
is looked for in the log, by its bits. The last kill is when the sender has ended: its last losses still wait
for norms.
The rate is that of one sender over one connection, requests made before: CPU and wall time of a receiver in
this process. Needs the extra `[otlp]`, opentelemetry-sdk and
opentelemetry-exporter-otlp-proto-http.
"""

import http.client
import sys
import tempfile
import time
from pathlib import Path

from rows import HEADER, load, parser, row

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

_SERIES = 1000


def killed(exports: int, seed: int, kills: int) -> str:
    """Return the row of a sender whose receiver is killed."""
    import otlp_kill

    with tempfile.TemporaryDirectory() as folder:
        found = otlp_kill.run(Path(folder), exports, _SERIES, seed, kills)
    told = (
        f"{found.missing} missing, {found.twice} twice, {found.strangers} others "
        f"({found.retried} exports sent again, {found.seconds:.0f} s)"
    )
    name = f"{found.acknowledged:,} acknowledged points, {kills} SIGKILLs"
    reached = found.missing == found.twice == found.strangers == 0
    return row(name, "0 missing, 0 twice, bit-equal", told, "-", "-", reached)


def rate(exports: int, seed: int) -> str:
    """Return the row of points a second, received, written and acknowledged."""
    from otlp import gauge, http_port, point, receiver, request
    from otlp_kill import values_of

    bodies = []
    for export in range(exports):
        points = (
            point(value, export, about={"series": at})
            for at, value in enumerate(values_of(seed, export, _SERIES))
        )
        bodies.append(request(gauge("some.metric", *points)).SerializeToString())
    with tempfile.TemporaryDirectory() as folder, receiver(Path(folder)) as made, http_port(made) as port:
        sender = http.client.HTTPConnection("127.0.0.1", port)
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        for body in bodies:
            sender.request("POST", "/v1/metrics", body, {"Content-Type": "application/x-protobuf"})
            assert sender.getresponse().read() == b""
        wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
        sender.close()
        count = made.counts["written"]
    told = f"{count / wall_s:,.0f} a second of wall time, {count / cpu_s:,.0f} of CPU time"
    return row(f"{count:,} points over HTTP, protobuf", "-", told, "-", "-", None)


def main() -> None:
    """Print the rows."""
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=2)
    given = options.parse_args()
    exports = 10 if given.quick else 100
    print(load())
    print(HEADER)
    for number in range(given.rounds or 1):
        print(killed(exports, given.seed + number, given.kills), flush=True)
    print(rate(exports, given.seed), flush=True)


if __name__ == "__main__":
    main()
