"""Messages of simulated agents, and transports in memory that break as brokers do."""

import itertools

from thermograd.stream.fleet.brokers.messages import Beat, Bye, DeviceNow, Evidence, RankNow, alert_note
from thermograd.stream.fleet.brokers.transport import TransportError

SECOND = 10**9


def beat(run="run", node="n0", seq=0, *, at_s=0, writer=None, evidence=(), step=None, alerts=0, **ranks):
    return Beat(
        run,
        node,
        writer or f"{node}-agent-1-ab",
        seq,
        at_s * SECOND,
        name=run,
        ranks=[RankNow(int(name[1:]), step, loss=loss) for name, loss in ranks.items()],
        devices=[DeviceNow("GPU-0", 90.0, 300.0, 60.0, "")],
        evidence=[Evidence(*each) for each in evidence],
        alerts=alerts,
    )


def alert(run="run", node="n0", seq=0, *, name="spike.grad", step=None, writer=None, **columns):
    given = {"alert": name, "severity": "warning", "message": f"{name} there", "time_ns": 7, "step": step}
    return alert_note(run, node, writer or f"{node}-agent-1-ab", seq, given | columns)


def bye(run="run", node="n0", *, at_s=0, alerts=0, writer=None):
    return Bye(run, node, writer or f"{node}-agent-1-ab", 0, at_s * SECOND, alerts)


class Broker:
    """Keeps messages; `fails` answers for each sending whether it fails, before or after they arrive."""

    def __init__(self, fails=()):
        self.messages, self._fails = [], itertools.chain(fails, itertools.repeat(None))

    def send(self, messages, wait_s):
        how = next(self._fails)
        if how != "before":
            self.messages += messages
        if how:
            raise TransportError("the broker is away")

    def close(self):
        pass
