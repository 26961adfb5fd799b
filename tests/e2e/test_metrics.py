# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""/metrics, /healthz and /v1/images: what hearthd tells over TCP, and of the image manager's images."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading

from client import Client
from harness import SLOW, Skip, World, wait_for
from images import Manager

PATIENCE = 20 * SLOW


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class MetricsWorld(World):
    """A World that serves metrics at a port of its own."""

    def __init__(self, config=None):
        self.port = free_port()
        config = config or {}
        super().__init__({**config, "agent": {"metrics": f"127.0.0.1:{self.port}", **config.get("agent", {})}})

    def get(self, path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read().decode()
        finally:
            connection.close()

    def page(self):
        status, headers, text = self.get("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), (status, headers)
        return text

    def sample(self, name, **labels):
        """The value of the one sample with these labels, or None."""
        found = [float(value) for n, words, value in samples(self.page())
                 if n == name and all(words.get(k) == v for k, v in labels.items())]
        assert len(found) < 2, (name, labels, found)
        return found[0] if found else None

    def wait_sample(self, value, name, **labels):
        last = []

        def reached():
            last[:] = [self.sample(name, **labels)]
            return last[0] == value

        wait_for(reached, 10, lambda: f"{name}{labels} == {value}, is {last}")


def samples(text):
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match:
            yield match[1], dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")), match[3]


def open_world():
    return MetricsWorld()


def serve_requests(world, name, n):
    server = world.serve(name)
    with Client(server, "tcp4") as client:
        for _ in range(n):
            assert client.get()[0] == 200
    world.wait_counts(name, n, 0)
    return server


def test_counts_are_those_of_the_api(world):
    serve_requests(world, "counted", 5)
    world.wait_sample(5, "hearth_function_invocations_total", function="counted")
    shown = world.function("counted")
    for metric, key in (("cold_starts_total", "cold_starts"), ("busy_spans_total", "busy_spans"), ("inflight", "inflight")):
        assert world.sample(f"hearth_function_{metric}", function="counted") == shown[key], metric
    tiers = [v for n, labels, v in samples(world.page()) if n == "hearth_function_instances" and labels["function"] == "counted"]
    assert sum(map(float, tiers)) == 1


def test_idle_times_are_a_histogram(world):
    serve_requests(world, "idle", 7)
    world.wait_sample(6, "hearth_function_idle_seconds_count", function="idle")
    buckets = [(float(labels["le"]), float(v)) for n, labels, v in samples(world.page())
               if n == "hearth_function_idle_seconds_bucket" and labels["function"] == "idle"]
    assert buckets == sorted(buckets) and buckets[-1] == (float("inf"), 6) and len(buckets) > 3
    assert [v for _, v in buckets] == sorted(v for _, v in buckets)


def test_totals_keep_what_forgotten_functions_counted():
    with MetricsWorld({"agent": {"max_functions": 1}}) as world:
        serve_requests(world, "first", 3)
        world.subtree.remove("fn/first/1")
        world.subtree.make("fn/second/1")
        wait_for(lambda: world.function("second"), 10, "registered in the place of the first")
        world.wait_sample(None, "hearth_function_invocations_total", function="first")
        assert world.sample("hearth_invocations_total") == 3 and world.sample("hearth_cold_starts_total") == 1


def test_names_from_outside_are_escaped(world):
    name = 'od"d\\n\xe4me'
    world.subtree.make(f"fn/{name}/1")
    wait_for(lambda: world.function(name), 5, "registered")
    wait_for(lambda: 'function="od\\"d\\\\n\xe4me"' in world.page(), 5, "its name, escaped")


def test_every_family_has_help_and_type_and_is_documented(world):
    text = world.page()
    families = re.findall(r"# TYPE (\w+) (\w+)", text)
    assert len(families) == len(set(families)) > 30
    documented = (pathlib.Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
    for family, kind in families:
        assert f"# HELP {family} " in text
        assert (kind == "counter") == family.endswith("_total"), family
        assert f"`{family}`" in documented, f"{family} is not in docs/api.md"


def test_health_says_what_is_wrong():
    with MetricsWorld() as world:
        wait_for(lambda: world.get("/healthz")[::2] == (200, "ok\n"), 10, "healthy")
        guard = world.status()["guard"]["pid"]
        os.kill(guard, signal.SIGSTOP)
        try:
            wait_for(lambda: world.get("/healthz")[0] == 503, 10, "unhealthy")
            assert "guard" in world.get("/healthz")[2] or world.get("/healthz")[0] == 200
        finally:
            try:
                os.kill(guard, signal.SIGCONT)
            except ProcessLookupError:
                pass  # replaced
        wait_for(lambda: world.get("/healthz")[0] == 200, 20, "healthy again")


def test_nothing_can_be_changed_and_nothing_else_is_there(world):
    assert world.get("/metrics", "POST")[0] == 405 and world.get("/healthz", "DELETE")[0] == 405
    assert world.get("/v1/functions")[0] == 404 and world.get("/")[0] == 404
    status, headers, text = world.get("/metrics", "HEAD")
    assert status == 200 and text == "" and int(headers["Content-Length"]) > 1000


def test_off_and_a_port_that_is_taken():
    with MetricsWorld({"agent": {"metrics": "off"}}) as world:
        try:
            world.get("/healthz")
            raise AssertionError("it serves although it is off")
        except ConnectionRefusedError:
            pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with MetricsWorld({"agent": {"metrics": f"127.0.0.1:{taken.getsockname()[1]}"}}) as world:
            assert "there are no metrics" in world.agent.log() and "in use" in world.agent.log()
            serve_requests(world, "works", 2)


def test_a_reload_moves_it_and_turns_it_off_and_on():
    with MetricsWorld() as world, contextlib.closing(socket.create_connection(("127.0.0.1", world.port))) as idle:
        def served(port):
            try:
                world.port = port
                return world.get("/healthz")[0] in (200, 503)
            except (ConnectionError, http.client.RemoteDisconnected):
                return False

        def reload(metrics):
            world.agent.write_config({**world.config, "agent": {**world.config["agent"], "metrics": metrics}})
            world.agent.process.send_signal(signal.SIGHUP)

        first, second = world.port, free_port()
        reload(f"127.0.0.1:{second}")
        wait_for(lambda: served(second) and not served(first), PATIENCE, "it has moved")
        assert idle.recv(1) == b"", "who was connected is let go of"
        reload(f"127.0.0.1:{second}")
        reload("off")
        wait_for(lambda: not served(second), PATIENCE, "it is off")
        with socket.create_server(("127.0.0.1", second)):
            reload(f"127.0.0.1:{second}")
            wait_for(lambda: "there are no metrics" in world.agent.log(), PATIENCE, "told")
        reload(f"127.0.0.1:{second}")
        wait_for(lambda: served(second), PATIENCE, "the port is free now")


def test_a_reload_tells_what_takes_a_restart(world):
    world.agent.write_config({**world.config, "agent": {**world.config["agent"], "journal_size": 77, "state_interval": "7s"}})
    world.agent.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "[agent] journal_size: these take a restart" in world.agent.log(), PATIENCE, "told")


def test_a_slow_reader_holds_nobody_up(world):
    """More connections than there may be, none of which says a word."""
    idle = [socket.create_connection(("127.0.0.1", world.port)) for _ in range(40)]
    try:
        serve_requests(world, "meanwhile", 3)
    finally:
        for s in idle:
            s.close()

    def served():
        try:
            return world.get("/healthz")[0] == 200
        except ConnectionResetError:
            return False  # those that left are not all let go of yet

    wait_for(served, 10, "served again")


def promtool(*arguments, **options):
    if not shutil.which("promtool"):
        raise Skip("promtool is not installed (Debian: prometheus)")
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, **options)


def test_promtool_finds_nothing_to_say(world):
    serve_requests(world, "linted", 3)
    found = promtool("check", "metrics", input=world.page())
    assert found.returncode == 0 and not found.stderr.strip(), found.stderr + found.stdout


def test_prometheus_scrapes_it(world):
    if not shutil.which("prometheus"):
        raise Skip("prometheus is not installed (Debian: prometheus)")
    serve_requests(world, "scraped", 4)
    port, folder = free_port(), world.directory
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: hearth\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{world.port}']}}]\n")
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                                    f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def value(query):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/api/v1/query?query={query}")
            result = json.loads(connection.getresponse().read())["data"]["result"]
            return float(result[0]["value"][1]) if result else None
        except (ConnectionRefusedError, KeyError, ValueError):
            return None
        finally:
            connection.close()

    try:
        wait_for(lambda: value("hearth_function_invocations_total%7Bfunction=%22scraped%22%7D") == 4, 30,
                 lambda: f"scraped: {(folder / 'prometheus.log').read_text()[-2000:]}")
        assert value("up") == 1
        assert value("histogram_quantile(0.5,hearth_function_idle_seconds_bucket%7Bfunction=%22scraped%22%7D)") is not None
    finally:
        process.kill()
        process.wait()


# ---- images

def images(world):
    return world.agent.api("GET", "/v1/images")[1]


def test_no_image_manager_is_told(world):
    found = images(world)
    assert found["images"] == [] and found["as_of_s"] is None and "no image manager here" in found["why_not"]
    assert world.sample("hearth_image_manager_up") == 0
    assert "no image manager here" in world.agent.cli("top", "--once").stdout


def test_images_of_the_manager_are_shown():
    with Manager({"py": {"policy": "always"}}) as m, MetricsWorld({"agent": {"images_socket": m.socket}}) as world:
        m.ask(do="build", image="py")
        x = m.run("wait.py")
        assert x.line() == "up"

        def shown():
            found = {i["name"]: i for i in images(world)["images"]}.get("py", {})
            return found.get("state") == "resident" and found["children"] == 1 and found

        found = wait_for(shown, 15, "py with its child")
        assert found["owner"] == m.show()["owner"] and found["resident_bytes"] > 0
        world.wait_sample(1, "hearth_image_state", image="py", state="resident")
        world.wait_sample(1, "hearth_image_children", image="py")
        lines = [line for line in world.agent.cli("top", "--once").stdout.splitlines() if line.startswith("py ")]
        assert len(lines) == 1 and "resident" in lines[0], lines
        x.end()
        m.stop()
        wait_for(lambda: images(world)["why_not"] and not images(world)["images"], 15, "gone")
        m.start()
        wait_for(lambda: images(world)["why_not"] is None, 15, "back")


def test_image_manager_that_hangs_holds_nobody_up():
    with MetricsWorld() as world:
        path = str(world.agent.directory / "images.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
            silent.bind(path)
            silent.listen(1)
            wait_for(lambda: "no answer within" in (images(world)["why_not"] or ""), 30, "our patience ended")
            serve_requests(world, "alive", 2)


def test_images_of_a_manager_that_hangs_are_shown_as_old():
    with Manager({"py": {}}) as m, MetricsWorld({"agent": {"images_socket": m.socket}}) as world:
        def top():
            return world.agent.cli("top", "--once").stdout

        wait_for(lambda: "py " in top(), PATIENCE, top)
        m.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: "images as of" in top(), PATIENCE, top)
            assert any(line.startswith("py ") for line in top().splitlines()), "what was known last"
            wait_for(lambda: "no answer within" in top(), PATIENCE, top)
        finally:
            m.process.send_signal(signal.SIGCONT)
        wait_for(lambda: "images as of" not in top(), PATIENCE, top)


@contextlib.contextmanager
def stand_in(world, reply):
    """Answers in the place of the image manager: `reply` makes an answer of a question."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(world.agent.directory / "images.sock"))
        other.listen(8)

        def answer():
            while True:
                try:
                    conn, _ = other.accept()
                except OSError:
                    return
                with conn, contextlib.suppress(OSError):
                    conn.send(reply(conn.recv(1000)))

        threading.Thread(target=answer, daemon=True).start()
        yield
        world.agent.stop(signal.SIGTERM)
        other.shutdown(socket.SHUT_RDWR)


def test_what_answers_but_is_no_manager_is_told():
    with MetricsWorld() as world, stand_in(world, lambda question: b"[1, 2"):
        wait_for(lambda: "no image manager" in (images(world)["why_not"] or "") and "answers" in images(world)["why_not"],
                 15, "told")
        assert world.agent.process.poll() is None


def test_images_that_come_in_parts_are_shown_all():
    names = [f"image-{i:03}" for i in range(500)]

    def part(question):
        skip = json.loads(question).get("skip", 0)
        some = [{"name": name, "state": "none"} for name in names[skip:skip + 200]]
        return json.dumps({"images": some, "more": skip + 200 < len(names)}).encode()

    with MetricsWorld() as world, stand_in(world, part):
        wait_for(lambda: [i["name"] for i in images(world)["images"]] == names, 15, "all of them")


def test_a_manager_that_always_has_more_is_asked_no_further():
    with MetricsWorld() as world, stand_in(world, lambda question: b'{"images": [], "more": true}'):
        wait_for(lambda: images(world)["why_not"] is None, 15, "an answer")
