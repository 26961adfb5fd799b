# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`hearth record`: what clients send is what the trace says, and what is missing is told."""
import csv
import gzip
import json
import pathlib
import signal
import subprocess

from client import Client
from harness import BUILD, World, rows, timeout, wait_for

HEADER = ["function", "begin_ms", "end_ms", "start", "mem_mb"]


def open_world():
    return World({"policy": {"default": "fixed:100ms", "debounce": "50ms", "startup_grace": "0s",
                             "enter_hold": "0s", "syn_hold": "100ms"}})


class Recorder:
    """A `hearth record` that is running and connected."""

    running = 0

    def __init__(self, world, name="trace.csv", *options):
        self.path = pathlib.Path(world.directory / name)
        wait_for(lambda: streams(world) == Recorder.running, 10, "earlier recorders are off the socket")
        self.process = subprocess.Popen(
            [BUILD / "hearth", "--socket", world.agent.socket, "record", "--json", *options, self.path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: streams(world) > Recorder.running, 10, "the recorder is connected")
        Recorder.running += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        Recorder.running -= 1

    def rows(self):
        """The rows written so far, as dicts."""
        with (gzip.open if self.path.suffix == ".gz" else open)(self.path, "rt", newline="") as file:
            lines = list(csv.reader(file))
        assert lines[0] == HEADER
        return [dict(zip(HEADER, line, strict=True)) for line in lines[1:]]

    def wait_rows(self, n, seconds=10):
        wait_for(lambda: len(self.rows()) >= n, seconds, lambda: f"{n} rows, is {len(self.rows())}")
        return self.rows()

    def end(self, sig=signal.SIGINT):
        """Its report."""
        self.process.send_signal(sig)
        return self.report()

    def report(self):
        out, self.err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, self.err
        return json.loads(out)


def streams(world):
    return world.status()["api"]["streams"]


def send(server, n):
    with Client(server, "tcp4") as client:
        for _ in range(n):
            assert client.get()[0] == 200


def simulate(path):
    done = subprocess.run([BUILD / "hearth", "sim", path, "--policy", "fixed:10m", "--json"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_sent_is_what_the_simulator_replays(world):
    sent = {"alpha": 30, "beta": 20, "gamma": 1}
    servers = {name: world.serve(name) for name in sent}
    with Recorder(world, "round.csv") as recorder:
        for i in range(max(sent.values())):
            for name, n in sent.items():
                if i < n:
                    send(servers[name], 1)
        recorded = recorder.wait_rows(sum(sent.values()))
        report = recorder.end()
    assert {name: sum(r["function"] == name for r in recorded) for name in sent} == sent
    assert (report["spans"], report["functions"], report["lost"]) == (51, 3, 0)
    assert report["ended_by"] == "signal"
    for row in recorded:
        assert float(row["begin_ms"]) <= float(row["end_ms"])
    replayed = simulate(recorder.path)
    trace = replayed["trace"]
    assert (trace["format"], trace["invocations"], trace["apps"]) == ("recorded", 51, 3), trace
    for name, server in servers.items():
        assert world.function(name)["busy_spans"] == sent[name]
        server.end()


def test_starts_are_cold_then_lukewarm_after_a_freeze_else_warm(world):
    with Recorder(world, "starts.csv", "--function", "st*ts") as recorder:
        server, other = world.serve("starts"), world.serve("other")
        send(other, 1)
        send(server, 1)
        for _ in range(2):
            world.wait_tier("starts", "frozen")
            send(server, 1)
        world.agent.cli("pin", "starts")
        wait_for(lambda: not world.subtree.frozen(server.cgroup), 5, "thawed by the pin")
        send(server, 1)
        another = world.serve("starts", "2")
        send(another, 2)
        recorded = recorder.wait_rows(6)
        recorder.end()
    assert [r["start"] for r in recorded] == ["cold", "lukewarm", "lukewarm", "warm", "cold", "warm"]
    assert {r["function"] for r in recorded} == {"starts"}
    function = world.function("starts")
    assert (function["cold_starts"], function["lukewarm_starts"]) == (2, 2)
    server.end()
    another.end()
    other.end()


def test_overlapping_requests_are_one_span(world):
    server = world.serve("overlap")
    with Recorder(world, "overlap.csv") as recorder, Client(server, "tcp4") as one, Client(server, "tcp4") as two:
        for client in (one, two):
            client.request("/?hold")
            server.expect("held")
        server.release(2)
        assert one.response()[0] == two.response()[0] == 200
        recorder.wait_rows(1)
        assert recorder.end()["spans"] == 1
    server.end()


def test_memory_is_that_of_the_function(world):
    server = world.serve("memory")
    shown = world.function("memory")["memory_bytes"]
    with Recorder(world, "memory.csv", "--count", "1") as recorder:
        send(server, 1)
        report = recorder.report()
        row = recorder.rows()[0]
    assert report["ended_by"] == "count"
    if shown is None:
        assert float(row["mem_mb"]) == 0
    else:
        assert 0.1 < float(row["mem_mb"]) < 100
    server.end()


@rows(("SIGINT", "ended.csv"), ("SIGTERM", "ended.csv.gz"), ("SIGHUP", "ended.csv"))
def test_an_interrupted_recording_is_a_whole_file(world, name, path):
    server = world.serve("ended")
    with Recorder(world, path, "--force") as recorder:
        send(server, 5)
        if path.endswith(".gz"):
            wait_for(lambda: world.status()["spans"]["last_seq"] >= world.function("ended")["busy_spans"], 5, "told")
            send(server, 5)
            wait_for(lambda: len(gunzipped(recorder.path)) >= 6, 10, "rows reach the file while it grows")
        else:
            recorder.wait_rows(5)
        report = recorder.end(getattr(signal, name))
    assert len(recorder.rows()) == report["spans"] >= 5
    assert simulate(recorder.path)["trace"]["invocations"] == report["spans"]
    server.end()


def gunzipped(path):
    """Lines of a compressed file that has no end yet."""
    return subprocess.run(["zcat", path], capture_output=True, text=True).stdout.splitlines()


def test_a_killed_recorder_leaves_whole_rows(world):
    server = world.serve("killed")
    with Recorder(world, "killed.csv") as recorder:
        send(server, 3)
        recorder.wait_rows(3)
        recorder.process.kill()
        recorder.process.wait()
    assert simulate(recorder.path)["trace"]["invocations"] == 3
    server.end()


@timeout(120)
def test_a_slow_reader_is_told_what_it_missed(world):
    server, last = world.serve("slow"), world.serve("last")
    kept = world.status()["spans"]["size"]
    with Recorder(world, "slow.csv") as recorder:
        send(server, 10)
        recorder.wait_rows(10)
        recorder.process.send_signal(signal.SIGSTOP)
        send(server, 2 * kept)
        world.wait_function("slow", "busy_spans", 10 + 2 * kept)
        recorder.process.send_signal(signal.SIGCONT)
        recorder.wait_rows(10 + kept)
        send(last, 1)
        wait_for(lambda: "\nlast," in recorder.path.read_text(), 20, "it goes on")
        report = recorder.end()
    assert report["lost"] > 0
    assert report["spans"] + report["lost"] == 10 + 2 * kept + 1, report
    assert f"{report['lost']} spans are missing" in recorder.err
    server.end()
    last.end()


@timeout(120)
def test_kernel_events_that_were_dropped_are_told():
    """hearthd stands still until the ring of events runs over."""
    with World() as world:
        server, last = world.serve("many"), world.serve("last")
        with Recorder(world) as recorder:
            send(server, 5)
            recorder.wait_rows(5)
            world.agent.process.send_signal(signal.SIGSTOP)
            try:
                send(server, 12000)
            finally:
                world.agent.process.send_signal(signal.SIGCONT)
            wait_for(lambda: world.drops()["events-ring-full"] > 0, 10, lambda: f"drops, is {world.drops()}")
            send(server, 1)
            send(last, 1)
            wait_for(lambda: "\nlast," in recorder.path.read_text(), 20, "it goes on")
            report = recorder.end()
        assert report["lost"] > 0
        assert report["spans"] + report["lost"] == 5 + 12000 + 2, report
        server.end()
        last.end()


def test_a_recording_outlives_hearthd():
    with World() as world:
        server = world.serve("fn")
        with Recorder(world) as recorder:
            send(server, 2)
            recorder.wait_rows(2)
            world.agent.stop()
            world.agent.start()
            wait_for(lambda: streams(world), 10, "the recorder is back")
            send(server, 3)
            recorder.wait_rows(5)
            report = recorder.end()
        assert (report["spans"], report["lost"], report["restarts"]) == (5, 0, 1)
        assert "connected again" in recorder.err
        server.end()


def test_a_span_over_a_restart_is_told_as_lost():
    with World() as world:
        server = world.serve("fn")
        with Recorder(world) as recorder, Client(server, "tcp4") as client:
            client.request("/?hold")
            server.expect("held")
            world.wait_counts("fn", 1, 1)
            world.agent.stop()
            world.agent.start()
            wait_for(lambda: streams(world), 10, "the recorder is back")
            server.release()
            assert client.response()[0] == 200
            send(server, 1)
            recorder.wait_rows(1)
            report = recorder.end()
        assert (report["spans"], report["lost"]) == (1, 1)
        server.end()


def test_it_ends_after_its_time(world):
    with Recorder(world, "timed.csv", "--for", "300ms") as recorder:
        assert recorder.report()["ended_by"] == "time"
    assert recorder.rows() == []


def test_a_file_that_is_there_is_kept(world):
    path = world.directory / "precious"
    path.write_text("precious\n")
    done = world.agent.cli("record", path, check=False)
    assert done.returncode == 1 and "File exists" in done.stderr and "--force" in done.stderr
    assert path.read_text() == "precious\n"
    done = world.agent.cli("record", path, "--force", "--for", "50ms")
    assert path.read_text() == ",".join(HEADER) + "\n"
    assert "0 spans of 0 functions" in done.stderr


def test_no_file_is_made_without_hearthd(world):
    path = world.directory / "nothing"
    done = subprocess.run([BUILD / "hearth", "--socket", world.directory / "none", "record", path],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "hearthd is not running" in done.stderr
    assert not path.exists()


def test_a_dash_is_standard_output(world):
    done = world.agent.cli("record", "-", "--for", "50ms")
    assert done.stdout == ",".join(HEADER) + "\n"
    wrong = world.agent.cli("record", "-", "--json", check=False)
    assert wrong.returncode == 2 and "mix" in wrong.stderr


def test_a_full_disk_ends_the_recording(world):
    server = world.serve("full")
    process = subprocess.Popen([BUILD / "hearth", "--socket", world.agent.socket, "record", "--force", "/dev/full"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "No space left" in process.communicate(timeout=20)[1]
    assert process.returncode == 1
    server.end()
