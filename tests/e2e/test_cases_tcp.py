# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The request matrix on TCP v4 and v6, and the cases that only TCP has."""
import socket
import subprocess

import cases
from cases import Case
from client import Client, Database, datagram, late_third_ack, with_extension_header
from harness import NAME, Server, World, rows, wait_for

TCP = ("tcp4", "tcp6")


def open_world():
    return World()


@rows(*cases.table(*TCP))
def test_case(world, row, transport, server):
    cases.run(world, row, transport, server)


@rows(*[(m, p, t) for m, p in (("HEAD", "/"), ("GET", "/204"), ("GET", "/304")) for t in TCP])
def test_answer_without_a_body(world, method, path, transport):
    with Case(world, f"bodyless-{method}{path[1:]}", transport) as c:
        client = c.connect()
        for n in range(3):
            client.request(path + "?hold", method=method)
            c.held()
            c.counts(n + 1, 1)
            c.server.release()
            client.response(method)
            c.counts(n + 1, 0)
        c.done(3)


@rows(*TCP)
def test_protocol_other_than_http(world, transport):
    with Case(world, "echo", transport) as c:
        client = c.connect()
        for n in range(5):
            client.send(b"ECHO hold\n")
            c.held("echo")
            c.counts(n + 1, 1)
            c.server.release()
            assert client.read(10) == b"ECHO hold\n"
            c.counts(n + 1, 0)
        c.done(5)


@rows(*TCP)
def test_data_pushed_on_an_outbound_socket_is_no_request(world, transport):
    with Case(world, "pushed", transport) as c, Database() as database:
        assert c.connect().get(f"/subscribe?port={database.port}")[0] == 200
        database.accept()
        for _ in range(3):
            database.connection.sendall(b"event")
            c.server.expect("pushed")
            c.counts(1, 0)
        c.done(1)


@rows(*TCP)
def test_data_on_the_third_ack(world, transport):
    with Case(world, "third-ack", transport) as c:
        for n in range(20):
            client = c.connect(before_connect=late_third_ack)
            client.request("/?hold")
            c.held()
            # SYN and one segment more: the request is the handshake's third
            assert client.segments_out() == 2
            c.counts(n + 1, 1)
            c.server.release()
            assert client.response()[0] == 200
            client.sock.close()
        c.done(20)


@rows(*TCP)
def test_rst_before_accept(world, transport):
    with Case(world, "rst-before-accept", transport, args=["--accept-later"]) as c:
        client = c.connect()
        client.request()
        c.counts(1, 1)
        client.reset()
        c.server.say("accept")
        c.done(1)


@rows(*TCP)
def test_close_of_the_listener_before_accept(world, transport):
    with Case(world, "never-accepted", transport, args=["--accept-later"]) as c:
        c.connect().request()
        c.counts(1, 1)
        c.server.process.kill()
        c.counts(1, 0)


@rows(*TCP)
def test_duplicate_segment(world, transport):
    with Case(world, "duplicate", transport) as c:
        client = c.connect()
        request = b"GET /?hold HTTP/1.1\r\n\r\n"
        client.send(request)
        c.held()
        client.forge(request, back=len(request))
        c.counts(1, 1)
        c.server.release()
        assert client.response()[0] == 200
        client.forge(request, back=len(request))
        c.counts(1, 0)
        assert client.get()[0] == 200
        c.done(2)


@rows(*TCP)
def test_keep_alive_probe_with_one_byte(world, transport):
    with Case(world, "probe-byte", transport) as c:
        client = c.connect()
        client.forge(b"\0", back=1)
        c.counts(0, 0)
        assert client.get()[0] == 200
        client.forge(b"\0", back=1)
        c.counts(1, 0)
        client.request("/?hold")
        c.held()
        client.forge(b"\0", back=1)
        c.counts(2, 1)
        c.server.release()
        assert client.response()[0] == 200
        c.done(2)


@rows(*TCP)
def test_kernel_keep_alive_probes(world, transport):
    with Case(world, "keepalive", transport) as c:
        client = c.connect()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        assert client.get()[0] == 200
        sent = client.segments_out()
        wait_for(lambda: client.segments_out() > sent + 1, 10, "keep-alive probes sent")
        c.counts(1, 0)
        assert client.get()[0] == 200
        c.done(2)


@rows(*TCP)
def test_retransmitted_request_and_response(world, transport):
    with Case(world, "retransmit", transport) as c:
        client = c.connect()
        client.hide_answers()
        client.request("/?hold")
        c.held()
        wait_for(lambda: client.retransmits() >= 2, 10, "request sent again")
        c.counts(1, 1)
        c.server.release()
        c.counts(1, 0)
        # the first copy of the answer was dropped: what arrives is a retransmission
        client.show_answers()
        assert client.response() == (200, b"hello\n")
        c.done(1)


@rows("tcp6")
def test_ipv6_extension_headers(world, transport):
    with Case(world, "extension", transport) as c:
        client = c.connect(before_connect=with_extension_header)
        for n in range(3):
            client.request("/?hold")
            c.held()
            c.counts(n + 1, 1)
            c.server.release()
            assert client.response()[0] == 200
        c.done(3)


@rows(*TCP)
def test_fin_with_data(world, transport):
    with Case(world, "fin-data", transport) as c:
        client = c.connect()
        client.send_with_fin(b"GET /?hold HTTP/1.1\r\n\r\n")
        c.held()
        c.counts(1, 1)
        c.server.release()
        assert client.response() == (200, b"hello\n")
        c.done(1)


@rows(*[(r, t) for r in ("slow", "concurrent", "chunked_with_gaps") for t in TCP])
def test_server_in_another_network_namespace(world, row, transport):
    name = NAME
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        with Case(world, f"netns-{row}", transport, netns=name, prefix=["ip", "netns", "exec", name]) as c:
            getattr(cases, row)(c)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@rows(*TCP)
def test_connection_made_between_mkdir_and_registration(world, transport):
    for n in range(10):
        name = f"early-{transport}-{n}"
        server = Server(world, name)
        client = Client(server, transport)
        cases.registered(world, name)
        # requests before the registration may be missed, those after it must count
        before = world.function(name)["invocations"]
        for i in range(3):
            client.request("/?hold")
            server.expect("held")
            world.wait_counts(name, before + i + 1, 1)
            server.release()
            assert client.response()[0] == 200
        world.wait_counts(name, before + 3, 0)
        client.sock.close()
        server.end()
        world.servers.remove(server)
        world.subtree.remove(f"fn/{name}")


def test_udp_is_activity_only(world):
    with Case(world, "udp", "tcp4", args=["--udp"]) as c:
        for _ in range(10):
            assert datagram(c.server, b"ping") == b"ping"
        c.counts(0, 0)
        c.done(0)


def test_server_outside_the_rules_is_not_counted(world):
    server = Server(world, "outside", where="elsewhere/outside/1")
    with Client(server, "tcp4") as client:
        for _ in range(5):
            assert client.get()[0] == 200
    with Case(world, "inside", "tcp4") as c:
        c.done(0)
    assert world.function("outside") is None
    assert world.function("elsewhere") is None
    server.end()


def test_listener_made_before_the_process_moved_in(world):
    """The listener belongs to the cgroup it was made in, its requests to the instance."""
    server = Server(world, "moved", where="staging")
    procs = world.subtree.make("fn/moved/1") / "cgroup.procs"
    procs.write_text(str(server.process.pid))
    cases.registered(world, "moved")
    with Client(server, "tcp4") as client:
        client.request("/?hold")
        server.expect("held")
        world.wait_counts("moved", 1, 1)
        server.release()
        assert client.response()[0] == 200
    world.wait_counts("moved", 1, 0)
    server.end()


def test_listener_handed_over_from_outside_still_serves(world):
    """Socket activation: made where no hook sees it, so the instance must not be frozen."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        server = world.serve("activated", args=["--fd", fd], pass_fds=[fd])
        server.ports["tcp4"] = listener.getsockname()[1]
        with Client(server, "tcp4") as client:
            for _ in range(3):
                assert client.get()[0] == 200
    server.end()


@rows(*TCP)
def test_nested_cgroup_counts_for_its_instance(world, transport):
    server = world.serve("nested", where="fn/nested/1/inner/leaf", instance="1")
    with Client(server, transport) as client:
        begins = world.function("nested")["invocations"]
        client.request("/?hold")
        server.expect("held")
        world.wait_counts("nested", begins + 1, 1)
        server.release()
        assert client.response()[0] == 200
    world.wait_counts("nested", begins + 1, 0)
    server.end()
    world.subtree.remove("fn/nested")


def test_two_instances_share_their_functions_counters(world):
    one, two = world.serve("pair", "1"), world.serve("pair", "2")
    with Client(one, "tcp4") as a, Client(two, "tcp4") as b:
        a.request("/?hold")
        one.expect("held")
        b.request("/?hold")
        two.expect("held")
        world.wait_counts("pair", 2, 2)
        assert world.instance("pair", "1")["inflight"] == world.instance("pair", "2")["inflight"] == 1
        one.release()
        assert a.response()[0] == 200
        world.wait_counts("pair", 2, 1)
        two.release()
        assert b.response()[0] == 200
    world.wait_counts("pair", 2, 0)
    assert world.function("pair")["busy_spans"] == 1
    one.end()
    two.end()


def test_connections_accepted_before_the_agent_started():
    with World(start=False) as world:
        server = world.serve("early")
        clients = [Client(server, t) for t in TCP for _ in range(2)]
        assert clients[0].get()[0] == 200
        clients[1].request("/?hold")
        server.expect("held")
        world.agent.start()
        cases.registered(world, "early")
        server.release()
        assert clients[1].response()[0] == 200
        before = world.function("early")["invocations"]
        for n, client in enumerate(clients):
            client.request("/?hold")
            server.expect("held")
            world.wait_counts("early", before + n + 1, 1)
            server.release()
            assert client.response()[0] == 200
        world.wait_counts("early", before + len(clients), 0)


def test_server_in_another_namespace_with_connections_before_the_agent_started():
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        subprocess.run(["ip", "-n", NAME, "link", "set", "lo", "up"], check=True)
        with World(start=False) as world:
            server = world.serve("away", prefix=["ip", "netns", "exec", NAME])
            client = Client(server, "tcp4", netns=NAME)
            assert client.get()[0] == 200
            world.agent.start()
            cases.registered(world, "away")
            before = world.function("away")["invocations"]
            client.request("/?hold")
            server.expect("held")
            world.wait_counts("away", before + 1, 1)
            server.release()
            assert client.response()[0] == 200
            world.wait_counts("away", before + 1, 0)
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=True)
