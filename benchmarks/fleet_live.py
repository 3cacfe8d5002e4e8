"""What the live fleet costs, and what is left of it when its parts are killed.

``keep_up``: agents that are simulated (beats of 8 ranks, 8 devices and their evidence at 1 Hz, an alert a
minute) publish to a real NATS server with ``sync_interval: always``; one consumer takes it all in, with its
journal. ``kills``: real publishers, while server and consumer are killed and started again. ``publisher``:
the processor time of one publisher. ``null``: fleet alerts by chance of uncoupled runs that come and go, and
how much later a true coupling among them is found than alone.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import nats
import numpy as np
import psutil
from thermograd.stream.fleet.brokers.messages import (
    Beat,
    Bye,
    DeviceNow,
    Evidence,
    RankNow,
    alert_note,
    packed,
)
from thermograd.stream.fleet.brokers.opening import open_receiver, open_sender
from thermograd.stream.fleet.brokers.transport import parse_address
from thermograd.stream.fleet.budget import FleetBudget
from thermograd.stream.fleet.consumer import FleetConsumer, Journal
from thermograd.stream.fleet.publisher import About, Publisher
from thermograd.stream.fleet.state import FleetState
from thermograd.stream.settings import PublishSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from ports import reserved_port
from server_processes import HOST, running
from servers import NatsServer, _nats_binary

DEVICES = 8


@contextmanager
def broker(folder, sync="always"):
    """Run a NATS server that syncs each message to the disk, or so often."""
    with reserved_port() as port:
        config = folder / "nats.conf"
        config.write_text(
            f'listen: "{HOST}:{port}"\njetstream {{ store_dir: "{folder}/js", sync_interval: {sync} }}\n'
        )
        server = NatsServer([str(_nats_binary()), "-c", str(config)], port, folder / "nats.txt")
        with running(server):
            yield server


def names(number):
    """Return run, node and writer of a simulated agent: eight are of one run."""
    node = f"node-{number:05}"
    return f"run-{number // 8:04}", node, f"{node}-agent-1-abcdef"


def beat(number, seq):
    """Return what an agent of eight devices says of a second."""
    now, (run, node, writer) = time.time_ns(), names(number)
    first = number % 8 * 8
    ranks = [RankNow(rank, seq, 2.0 + seq / 1e4, 0.9, 1, [0.98]) for rank in range(first, first + 8)]
    gpus = [f"GPU-{number:08x}-{i:04x}-0000-0000-000000000000" for i in range(DEVICES)]
    devices = [DeviceNow(gpu, 98.0, 640.0, 66.0, "") for gpu in gpus]
    evidence = [Evidence(gpu, now // 10**9, 1.25, float(seq)) for gpu in gpus]
    facts = (run, "live", 64, {"rack": "r12"}, now)
    return Beat(run, node, writer, seq, now, *facts, ranks, devices, evidence)


def spike(number, seq, step):
    """Return an alert of such an agent."""
    found = {"alert": "spike.grad", "severity": "warning", "step": step, "metric": f"of {number}"}
    return alert_note(*names(number), seq, found | {"message": "m" * 60, "time_ns": step})


async def simulate_agent(url, number, seconds, counts):
    """Publish as an agent does: one message a second, at a moment of its own, and wait for the ack."""
    client = await nats.connect(url)
    jetstream = client.jetstream()

    async def publish(body):
        message = packed(body)
        subject, known = f"tg.{message.run}.{message.node}.{message.kind}", message.identity
        await jetstream.publish(subject, message.data, headers={"Nats-Msg-Id": known}, timeout=30)
        counts[message.kind] += 1
        counts["bytes"] += len(message.data) + len(known) + len(subject) + 30

    await asyncio.sleep(random.random())
    for second in range(seconds):
        begun = time.monotonic()
        await publish(beat(number, second))
        if random.random() < 1 / 60:
            await publish(spike(number, counts["alerts of", number], second))
            counts["alerts of", number] += 1
        await asyncio.sleep(max(0.0, begun + 1 - time.monotonic()))
    await publish(Bye(*names(number), 0, time.time_ns(), counts["alerts of", number]))
    await client.close()


def simulate(url, first, agents, seconds):
    """Be so many agents, in one process."""

    async def all_of_them():
        counts = Counter()
        tasks = [simulate_agent(url, first + i, seconds, counts) for i in range(agents)]
        await asyncio.gather(*tasks)
        return counts

    counts = asyncio.run(all_of_them())
    print(json.dumps({kind: counts[kind] for kind in ("beat", "alert", "bytes")}))


def consume(url, folder, seconds):
    """Be the consumer; print its share of a core and how late it had each beat."""
    lags_ms, receiver = [], open_receiver(parse_address(PublishSettings(url=url)), "watcher")
    consumer = FleetConsumer(receiver, FleetState(), Journal(Path(folder)))
    take = FleetState.take

    def timed(self, body, arrived_ns):
        told = take(self, body, arrived_ns)
        if isinstance(body, Beat):
            now = time.time_ns()
            lags_ms.append(((now - body.time_ns) / 1e6, (now - arrived_ns) / 1e6))
        return told

    FleetState.take = timed
    until = time.monotonic() + seconds
    shares, told = [], 0
    cpu, wall = time.process_time(), time.monotonic()
    while time.monotonic() < until or not consumer._receiver.is_drained:
        told += len(consumer.turn(0.5))
        if time.monotonic() - wall > 5.0:
            shares.append((time.process_time() - cpu) / (time.monotonic() - wall))
            cpu, wall = time.process_time(), time.monotonic()
    consumer.close()
    runs = consumer.state.runs.values()
    found = {
        "shares": shares,
        "lags": np.percentile(lags_ms, [50, 99, 100], axis=0).tolist() if lags_ms else None,
        "beats": len(lags_ms),
        "told": told,
        "rss_mb": psutil.Process().memory_info().rss / 2**20,
        "missing": sum(run.missing_alerts() for run in runs),
        "silent": sum(node.silent for run in runs for node in run.nodes.values()),
    }
    print(json.dumps(found))


def child(*arguments):
    """Start this script as another process."""
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def keep_up(agents, seconds, sync):
    """Print whether one consumer keeps up with so many agents."""
    with tempfile.TemporaryDirectory() as text, broker(Path(text), sync) as server:
        open_sender(parse_address(PublishSettings(url=server.url))).send([], 5.0)  # makes the streams
        consumer = child("--consume", server.url, Path(text) / "state", seconds + 25)
        simulators = [
            child("--simulate", server.url, agents // 2 * i, agents // 2, seconds) for i in range(2)
        ]
        sent = Counter()
        for simulator in simulators:
            sent.update(json.loads(simulator.communicate()[0]))
        server_cpu = sum(psutil.Process(server.pid).cpu_times()[:2])
        found = json.loads(consumer.communicate()[0])
        stored = sum(path.stat().st_size for path in (Path(text) / "js").rglob("*.blk"))
    busy = found["shares"][2 : max(3, seconds // 5)]
    per_gpu = sent["bytes"] / agents / seconds / DEVICES * 86_400
    print(f"{agents} agents x {seconds} s, sync {sync}: {sent['beat']} beats, {sent['alert']} alerts sent")
    print(
        "consumer: {beats} beats, {told} alerts told, {missing} missing, {silent} silent nodes".format(
            **found
        )
    )
    shares = f"{np.median(busy):.2f} ({min(busy):.2f} to {max(busy):.2f})"
    print(f"consumer: {shares} of a core in 5 s, median, least and most; {found['rss_mb']:.0f} MB")
    for name, lags in zip(("made", "stored by the broker"), zip(*found["lags"], strict=True), strict=True):
        print("from {} to taken in: {:.0f} ms median, {:.0f} ms p99, {:.0f} ms most".format(name, *lags))
    size = sent["bytes"] / (sent["beat"] + sent["alert"])
    print(
        f"{size:.0f} bytes a message; a GPU and day: {86_400 / DEVICES:.0f} messages, {per_gpu / 1e6:.1f} MB"
    )
    print(f"server: {server_cpu / seconds:.2f} of a core, {stored / 1e6:.0f} MB on disk")


def publish(url, first, agents, alerts):
    """Be so many real publishers that each have so many alerts to tell, within 20 s."""
    address = parse_address(PublishSettings(url=url))
    abouts = [
        About(f"run-{first + i:04}", f"n{first + i:04}", f"n{first + i:04}-agent-1-ab") for i in range(agents)
    ]
    told = [Publisher(open_sender(address), about, lambda w, s: (), lambda text: None) for about in abouts]
    for seq in range(alerts):
        for publisher in told:
            found = {"alert": "nonfinite", "severity": "critical", "message": "loss is nan"}
            publisher.alert(seq, found | {"step": seq, "time_ns": seq})
        time.sleep(20.0 / alerts)
    until = time.monotonic() + 60
    while any(each.waiting for each in told) and time.monotonic() < until:
        time.sleep(0.1)
    threads = [threading.Thread(target=each.finish, args=(20.0,)) for each in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"waiting": sum(each.waiting for each in told)}))


def kills(agents, alerts, times):
    """Print what is missing and what is there twice after killing server and consumer in turns."""
    lost = twice = away_s = 0
    for number in range(times):
        rng = random.Random(number)
        with tempfile.TemporaryDirectory() as text, broker(Path(text)) as server:
            state = Path(text) / "state"
            open_sender(parse_address(PublishSettings(url=server.url))).send([], 5.0)
            consumer = child("--consume", server.url, state, 3600)
            publishers = [
                child("--publish", server.url, agents // 2 * i, agents // 2, alerts) for i in range(2)
            ]
            for _ in range(2):
                time.sleep(rng.uniform(3, 5))
                consumer.kill()
                consumer.wait()
                time.sleep(rng.uniform(0, 1))
                server.kill()
                away = rng.uniform(0.5, 4)
                time.sleep(away)
                away_s += away
                server.start()
                consumer = child("--consume", server.url, state, 3600)
            for publisher in publishers:
                publisher.communicate()
            until = time.monotonic() + 30
            while (
                time.monotonic() < until and sum(1 for _ in (state / "alerts.jsonl").open()) < agents * alerts
            ):
                time.sleep(0.5)
            consumer.send_signal(signal.SIGKILL)
            consumer.wait()
            lines = [json.loads(line) for line in (state / "alerts.jsonl").read_text().splitlines()]
        found = Counter((line["run"], line["step"]) for line in lines if line["alert"] == "nonfinite")
        wanted = {(f"run-{i:04}", seq) for i in range(agents) for seq in range(alerts)}
        lost += len(wanted - set(found))
        twice += sum(count > 1 for count in found.values())
    print(f"{times} times server killed twice (away {away_s:.0f} s in all), consumer three times;")
    print(
        f"{agents} publishers x {alerts} alerts: {lost} of {times * agents * alerts} missing, {twice} twice"
    )


def publisher_cost(seconds):
    """Print the processor time of one publisher with eight devices and eight ranks."""
    with tempfile.TemporaryDirectory() as text, broker(Path(text)) as server:
        for name, url in (("broker there", server.url), ("broker away", "nats://127.0.0.1:9")):
            address = parse_address(PublishSettings(url=url))
            publisher = Publisher(
                open_sender(address), About("run", "n", "n-agent-1-ab"), lambda w, s: (), lambda text: None
            )
            time.sleep(2)
            made = beat(0, 1)
            cpu, wall = time.process_time(), time.monotonic()
            for second in range(seconds):
                with publisher._lock:
                    publisher._summary._devices = {each.device: each for each in made.devices}
                    publisher._summary._ranks = {("w", each.rank): each for each in made.ranks}
                    publisher._evidence += [
                        Evidence(each.device, second, 1.0, float(second)) for each in made.devices
                    ]
                time.sleep(1)
            share = (time.process_time() - cpu) / (time.monotonic() - wall)
            rss_mb = psutil.Process().memory_info().rss / 2**20
            print(f"publisher, {name}: {100 * share:.2f} % of a core, {rss_mb:.0f} MB in all")
            publisher.finish(0.5)


BETS = np.array((0.1, -0.1, 0.2, -0.2, 0.4, -0.4, 0.9, -0.9))


def null(runs, days, per_day, seed=1):
    """Print fleet alerts by chance: processes like the detector's, on noise, of runs that come and go."""
    rng = np.random.default_rng(seed)
    begun, stand, fleet, alarms, node = np.zeros(runs), np.zeros((runs, len(BETS))), np.zeros(runs), 0, 0
    alone = np.zeros((runs, len(BETS)))
    live = np.ones(runs, bool)
    threshold = 86_400 / per_day
    seconds = round(days * 86_400)
    for second in range(seconds):
        if second % 600 == 0:  # some end, others begin
            live = rng.random(runs) < 0.7
            stand[~live], begun[~live], fleet[~live] = 0.0, 0.0, 0.0
        product = np.clip(rng.standard_normal(runs) * rng.standard_normal(runs), -1, 1)
        factors = 1.0 + BETS * product[:, None]
        before = stand.mean(axis=1)
        stand = np.minimum((stand + 1.0) * factors, 1e200)
        after = stand.mean(axis=1)
        weight = 1.0 / max(live.sum(), 1)
        fleet = np.where(live, (fleet + weight) * after / (before + 1.0), 0.0)
        hit = fleet >= threshold
        alarms += int(hit.sum())
        fleet[hit] = 0.0
        alone = (alone + 1.0) * factors
        found = alone.mean(axis=1) >= 259_200
        node += int(found.sum())
        alone[found] = 0.0
    low, high = (chi2_half(alarms, side) / days for side in (0.025, 0.975))
    print(f"null: {runs} runs x {days:g} days, {per_day:g} a day allowed: {alarms} fleet alerts,")
    print(f"{alarms / days:.2f} a day ({low:.2f} to {high:.2f}); the nodes' own: {node / days:.1f} a day")


def chi2_half(count, side):
    """Return the exact limit of a Poisson mean."""
    from scipy.stats import chi2

    freedom = 2 * count + 2 * (side > 0.5)
    return chi2.ppf(side, freedom) / 2 if freedom else 0.0


def power(fleets, strength, times, seed=2):
    """Print how long a coupling of one run takes to be found, in fleets of several sizes: real monitors."""
    from thermograd.stream.coupling.detector import CouplingMonitor

    delays = {size: [] for size in fleets}
    node = []
    for number in range(times):
        rng, onset = np.random.default_rng([seed, number]), 1800
        monitor = CouplingMonitor(sensors=1)
        budgets = {size: FleetBudget(lateness_s=0) for size in fleets}
        noise, found, alone = [0.0] * 5, {}, None
        for second in range(onset + 7200):
            noise = [rng.standard_normal(), *noise[:4]]
            rho = strength if second >= onset else 0.0
            monitor.update(noise[0], rho * noise[3] + (1 - rho**2) ** 0.5 * rng.standard_normal())
            alone = second if alone is None and monitor.detected and second >= onset else alone
            for size, budget in budgets.items():
                budget.take("run", "gpu", second, monitor.standing, monitor.begun)
                for other in range(size - 1):  # others count, they do not bet
                    budget.pending.setdefault(second, {})[f"other\0{other}"] = (0.0, 0.0)
                for alarm in budget.advance():
                    found.setdefault(size, alarm.tick)
            if alone is not None and len(found) == len(fleets):
                break
        node.append((alone or np.inf) - onset)
        for size in fleets:
            delays[size].append(found.get(size, np.inf) - onset)
    print(f"power: correlation {strength}, {times} times; node alone {np.median(node):.0f} s (median)")
    for size in fleets:
        finite = np.isfinite(delays[size]).sum()
        print(f"within one a day in a fleet of {size}: {np.median(delays[size]):.0f} s, found {finite}")


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["keep_up", "kills", "publisher", "null", "power"])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--sync", default="always", help="the server's sync_interval")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--days", type=float, default=30.0)
    for name in ("simulate", "consume", "publish"):
        parser.add_argument(f"--{name}", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.simulate:
        simulate(given.simulate[0], *map(int, given.simulate[1:]))
    elif given.consume:
        consume(given.consume[0], given.consume[1], float(given.consume[2]))
    elif given.publish:
        publish(given.publish[0], *map(int, given.publish[1:]))
    else:
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, numpy {np.__version__}")
        asked = {
            "keep_up": lambda: keep_up(given.agents, given.seconds, given.sync),
            "kills": lambda: kills(100, 40, given.times),
            "publisher": lambda: publisher_cost(30),
            "null": lambda: null(500, given.days, 1.0),
            "power": lambda: power((1, 100, 1000), 0.4, 5),
        }
        for name in given.what:
            asked[name]()


if __name__ == "__main__":
    main()
