# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Images of libhearth-zygote: what an instance is born as, and what an image survives or refuses."""
import contextlib
import errno
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import struct
import subprocess
import tempfile

import zygote
from harness import BUILD, NAME, Skip, Subtree, rows, timeout, wait_for

HANDLERS = '''
import json, os, random, signal, subprocess, sys, threading, time, uuid
import hearth_zygote

own = random.Random(7)
hooked = random.Random(7)
hearth_zygote.after_fork(lambda: hooked.seed())
signal.signal(signal.SIGUSR1, lambda *_: None)

def tell(**what):
    os.write(1, json.dumps(what).encode())

def about():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    tell(pid=os.getpid(), ppid=os.getppid(), argv=sys.argv, env=dict(os.environ), directory=os.getcwd(),
         fds=sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")), uid=status["Uid"].split(),
         groups=status["Groups"].split(), no_new_privs=status["NoNewPrivs"], seccomp=status["Seccomp"],
         sid=os.getsid(0), cgroup=open("/proc/self/cgroup").read().splitlines()[-1],
         namespaces={n: os.readlink(f"/proc/self/ns/{n}") for n in ("uts", "net", "pid", "mnt")})

def numbers():
    tell(random=random.random(), urandom=os.urandom(8).hex(), uuid=str(uuid.uuid4()), own=own.random(),
         hooked=hooked.random())

def alive():
    """Threads, locks, signals to itself and programs work, as they do after an exec."""
    seen, lock = [], threading.RLock()
    signal.signal(signal.SIGUSR1, lambda *_: seen.append("signal"))
    signal.raise_signal(signal.SIGUSR1)
    def work():
        with lock, lock:
            seen.append("thread")
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    seen.append(subprocess.run(["/bin/echo", "-n", "program"], stdout=subprocess.PIPE, text=True).stdout)
    tell(seen=seen, id=threading.get_native_id() == os.getpid())

def forks():
    """A fork of an instance's own, while it has another thread and that holds a lock, knows its one thread."""
    def work():
        with threading._active_limbo_lock:
            held.set()
            let.wait()
    held, let = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    held.wait()
    if os.fork() == 0:
        own = threading.Thread(target=time.sleep, args=(0,))
        own.start()
        own.join()
        tell(threads=[t.name for t in threading.enumerate()], other=thread.is_alive())
        os._exit(0)
    let.set()
    thread.join()
    os.wait()

def uname():
    try:
        os.uname()
        tell(uname="allowed")
    except PermissionError:
        tell(uname="refused")

def status7():
    return 7

def wait():
    os.read(0, 1)

def says():
    print("a line")
    os.read(0, 1)
'''
NUMERIC = '''
import json, os, numpy
own = numpy.random.default_rng(7)
numpy.random.normal()

def numbers():
    os.write(1, json.dumps({"normal": numpy.random.normal(), "many": list(numpy.random.rand(2000)),
                            "own": own.random()}).encode())
'''
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET, CLONE_NEWPID = 0x20000, 0x4000000, 0x40000000, 0x20000000
NOBODY = 65534


@contextlib.contextmanager
def place(cgroups=("image", "fn")):
    """A directory with the handlers, and a subtree with cgroups."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    (directory / "handlers.py").write_text(HANDLERS)
    directory.chmod(0o755)
    subtree = Subtree(f"{NAME}-zygote")
    for name in cgroups:
        subtree.make(name)
    try:
        yield directory, subtree
    finally:
        subtree.kill(".")
        reap()
        subtree.close()
        shutil.rmtree(directory)


def reap():
    """Instances that a test did not wait for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def run(image, handler, talk=None, **request):
    """What the handler tells; talk: of a spare to claim."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as file:
        try:
            what = handler if ":" in handler else f"handlers:{handler}"
            instance = zygote.fork(talk or image.path, [what, "word"], stdio=(None, writer, None), **request)
        finally:
            os.close(writer)
        instance.started()
        told = file.read()
    assert instance.wait() == 0
    return dict(json.loads(told), outer_pid=instance.pid)


def expect_failure(error, text, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except zygote.Failed as failed:
        assert failed.errno == error, f"{failed}, expected {errno.errorcode[error]}"
        assert text in failed.text, f"{failed.text!r}, expected {text!r}"
    else:
        raise AssertionError(f"no failure; expected {text!r}")


def test_an_instance_is_born_in_its_cgroup_as_a_child_of_the_images_parent():
    with place() as (directory, subtree), \
            zygote.Image(directory, modules=["handlers"], cgroup=subtree.path / "image") as image:
        ready = image.ready()
        assert ready["threads"] == 1 and ready["fds"] == 4 and ready["text"].startswith("python 3"), ready
        told = run(image, "about", cgroup=subtree.path / "fn")
        assert told["pid"] == told["outer_pid"] == told["sid"] and told["ppid"] == os.getpid(), told
        assert told["cgroup"] == f"0::/{subtree.name}/fn", told
        assert told["argv"] == ["handlers:about", "word"] and told["fds"] == [0, 1, 2], told
        assert image.ready()["forks"] == 1


def test_environment_directory_and_descriptors_are_those_of_the_request():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        reader, writer = os.pipe()
        told = run(image, "about", env={"A": "1", "B": "x=y"}, directory="/usr", extra=[reader, writer])
        os.close(reader)
        os.close(writer)
        assert told["env"] == {"A": "1", "B": "x=y"} and told["directory"] == "/usr", told
        assert told["fds"] == [0, 1, 2, 3, 4], told
        assert run(image, "about", env={})["env"] == {}
        assert "PATH" in run(image, "about")["env"]


def test_an_instance_has_threads_signals_and_programs():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        told = run(image, "alive")
        assert told["seen"] == ["signal"] + 4 * ["thread"] + ["program"] and told["id"], told


def test_a_fork_of_an_instance_has_one_thread_and_no_lock_of_the_others():
    with place() as (directory, subtree), zygote.Image(directory, modules=["handlers"]) as image:
        for talk in None, zygote.ask_spare(image.path, subtree.path / "fn").talk:
            told = run(image, "forks", talk=talk)
            assert told["threads"] == ["MainThread"] and not told["other"], told


def test_a_line_for_a_terminal_is_not_kept_back():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        master, slave = os.openpty()
        reader, writer = os.pipe()
        with os.fdopen(master, "rb", 0) as terminal:
            instance = image.fork(["handlers:says"], stdio=(reader, slave, None)).started()
            os.close(slave)
            os.close(reader)
            assert select.select([terminal], [], [], zygote.PATIENCE)[0], "it came to nothing"
            assert terminal.read(100).split() == [b"a", b"line"]
            os.close(writer)
            assert instance.wait() == 0


def test_random_numbers_differ_between_instances():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        first, second = run(image, "numbers"), run(image, "numbers")
        for source in ("random", "urandom", "uuid", "hooked"):
            assert first[source] != second[source], source
        assert first["own"] == second["own"], "a generator without a hook: hearth_zygote.py says so"


def test_numpys_generators_differ_between_instances_if_they_are_its_own():
    """The module leaves the global one with half a pair of normals, which no instance may get."""
    if subprocess.run([zygote.PYTHON, "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode:
        raise Skip("no numpy (python3-numpy)")
    with place() as (directory, _):
        (directory / "numeric.py").write_text(NUMERIC)
        with zygote.Image(directory, modules=["numeric"]) as image:
            first, second = (run(image, "numeric:numbers") for _ in range(2))
        assert first["normal"] != second["normal"]
        for told in first, second:
            assert len(set(told["many"])) == 2000 and 0.45 < sum(told["many"]) / 2000 < 0.55
        assert not set(first["many"]) & set(second["many"])
        assert first["own"] == second["own"], "a generator without a hook: hearth_zygote.py says so"


def test_exit_status_and_a_handler_that_is_missing_are_told():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        assert image.fork(["handlers:status7"]).started().wait() == 7
        instance = image.fork(["handlers:missing"])
        expect_failure(errno.ENOEXEC, "has no attribute 'missing'", instance.started)
        assert instance.wait() == 125
        (directory / "script.py").write_text("import sys; sys.exit(len(sys.argv))\n")
        assert image.fork([directory / "script.py", "b"]).started().wait() == 2
        instance = image.fork([directory / "none.py"])
        expect_failure(errno.ENOEXEC, "No such file", instance.started)
        instance.wait()


@timeout(120)
def test_sixty_requests_at_once_all_start():
    with place() as (directory, subtree), \
            zygote.Image(directory, modules=["handlers"], cgroup=subtree.path / "image") as image:
        talks = [zygote.ask(image.path, ["handlers:status7"], cgroup=subtree.path / "fn") for _ in range(60)]
        instances = [zygote.Instance(talk, talk.receive(zygote.FORKED)).started() for talk in talks]
        assert len({i.pid for i in instances}) == 60
        assert [i.wait() for i in instances] == 60 * [7]
        assert image.ready()["forks"] == 60


def test_an_image_that_dies_while_asked_ends_every_request():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        image.ready()
        image.process.send_signal(signal.SIGSTOP)
        talks = [zygote.ask(image.path, ["handlers:status7"]) for _ in range(5)]
        image.end()
        for talk in talks:
            expect_failure(errno.ECONNRESET, "", talk.receive, zygote.FORKED)
            talk.close()


def test_an_image_that_dies_loading_ends_who_waits_for_it():
    with place() as (directory, _):
        (pathlib.Path(directory) / "awaited.py").write_text(
            "import os, time\nwhile not os.path.exists(__file__ + '.go'):\n    time.sleep(0.01)\nimport no_such_module\n")
        with zygote.Image(directory, modules=["awaited"]) as image:
            talk = zygote.Conversation(image.path)
            talk.send(zygote.wire(zygote.INFO))
            (pathlib.Path(directory) / "awaited.py.go").touch()
            expect_failure(errno.ECONNRESET, "", talk.receive, zygote.READY)
            talk.close()
            assert "No module named" in image.log.read_text()


def test_an_instance_outlives_its_image():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        reader, writer = os.pipe()
        instance = image.fork(["handlers:wait"], stdio=(reader, None, None)).started()
        os.close(reader)
        image.end()
        os.close(writer)
        assert instance.wait() == 0


def test_an_instance_that_hangs_holds_up_nobody():
    with place() as (directory, _):
        (directory / "hang.py").write_text("import os\nos.read(0, 1)\n")
        with zygote.Image(directory, modules=["handlers"]) as image:
            reader, writer = os.pipe()
            hanging = image.fork(["hang:x"], stdio=(reader, None, None))
            assert image.fork(["handlers:status7"]).started().wait() == 7
            hanging.talk.socket.settimeout(0.2)
            try:
                hanging.started()
                raise AssertionError("a module that hangs while it is imported has not started")
            except TimeoutError:
                pass
            assert hanging.kill() == -signal.SIGKILL
            os.close(reader)
            os.close(writer)


def test_an_instance_nobody_waits_for_is_not_started():
    with place() as (directory, subtree), zygote.Image(directory, modules=["handlers"]) as image:
        image.ready()
        image.process.send_signal(signal.SIGSTOP)
        reader, writer = os.pipe()
        zygote.ask(image.path, ["handlers:wait"], cgroup=subtree.path / "fn", stdio=(reader, None, None)).close()
        image.process.send_signal(signal.SIGCONT)
        assert [image.ready()["forks"] for _ in range(3)] == [0, 0, 0], "its caller may have started it elsewhere"
        assert "populated 0" in (subtree.path / "fn/cgroup.events").read_text()
        os.close(reader)
        os.close(writer)


def test_a_signal_ends_neither_an_image_nor_its_connections():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        early = zygote.Conversation(image.path)
        image.ready()  # it has accepted both by now
        for _ in range(3):
            image.process.send_signal(signal.SIGUSR1)
            assert image.fork(["handlers:status7"]).started().wait() == 7
        early.send(zygote.wire(argc=1) + b"handlers:status7\0")
        assert zygote.Instance(early, early.receive(zygote.FORKED)).started().wait() == 7
        assert image.ready()["fds"] == 4


@timeout(90)
def test_clients_that_connect_and_say_nothing_give_way():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        image.ready()
        silent = [zygote.Conversation(image.path) for _ in range(70)]
        assert image.fork(["handlers:status7"]).started().wait() == 7
        for talk in silent:
            talk.close()


@timeout(90)
def test_an_image_at_its_limit_of_descriptors_neither_ends_nor_spins():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        image.ready()
        pid = image.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 3, limits[1]))
        silent = [zygote.Conversation(image.path) for _ in range(10)]
        wait_for(lambda: zygote.sleeps(pid), zygote.PATIENCE, "it waits")
        assert image.ready()["threads"] == 1, "those who say nothing give way"
        for talk in silent:
            talk.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert image.fork(["handlers:status7"]).started().wait() == 7


REFUSED = {
    "thread": ("import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()", "2 threads"),
    "socket": ("import socket\nx = socket.socket()", "socket:["),
    "epoll": ("import select\nx = select.epoll()", "[eventpoll]"),
    "pipe": ("import os\nx = os.pipe()", "2 open descriptors"),
    "file": ("x = open('/etc/passwd')", "/etc/passwd"),
}


@rows(*REFUSED)
def test_an_image_that_cannot_fork_says_what_keeps_it(what):
    code, text = REFUSED[what]
    with place() as (directory, _):
        (directory / "bad.py").write_text(code + "\n")
        with zygote.Image(directory, modules=["bad"]) as image:
            expect_failure(errno.EBUSY, text, image.ready)
            assert image.process.wait(timeout=10) == 1
            assert text in image.log.read_text()


def test_a_file_that_the_image_keeps_is_open_in_instances():
    with place() as (directory, _):
        (directory / "keeper.py").write_text("import os\nfd = os.open('/etc/passwd', os.O_RDONLY)\n"
                                             "os.dup2(fd, 40)\nos.close(fd)\n")
        argv = [zygote.PYTHON, zygote.BOOTSTRAP, "--keep-fd", "40", "keeper", "handlers"]
        with zygote.Image(directory, argv=argv) as image:
            assert run(image, "about")["fds"] == [0, 1, 2, 40]


BAD_REQUESTS = {
    "short": (b"x" * 8, [], errno.EINVAL, "a message of 8 bytes"),
    "protocol": (zygote.wire(protocol=2, argc=1) + b"a\0", [], errno.EPROTO, "protocol 2"),
    "type": (zygote.wire(type=9, argc=1) + b"a\0", [], errno.EINVAL, "message type 9"),
    "flags": (zygote.wire(flags=1 << 20, argc=1) + b"a\0", [], errno.EINVAL, "flags 0x100000"),
    "kinds": (zygote.wire(fds=1 << 9, argc=1) + b"a\0", [0], errno.EINVAL, "unknown kind"),
    "fewer fds": (zygote.wire(fds=3, argc=1) + b"a\0", [0], errno.EINVAL, "2 descriptors announced, 1 came"),
    "more fds": (zygote.wire(argc=1) + b"a\0", [0], errno.EINVAL, "0 descriptors announced, 1 came"),
    "not a cgroup": (zygote.wire(fds=1, argc=1) + b"a\0", [0], errno.EINVAL, "not of a cgroup2 directory"),
    "no pidfd": (zygote.wire(namespaces=CLONE_NEWNET, argc=1) + b"a\0", [], errno.EINVAL, "go together"),
    "extra": (zygote.wire(n_extra=1 << 31, argc=1) + b"a\0", [], errno.EINVAL, "more than 32 extra"),
    "fewer strings": (zygote.wire(argc=2) + b"a\0", [], errno.EINVAL, "2 strings announced, 1 came"),
    "many strings": (zygote.wire(argc=(1 << 32) - 1, n_env=2) + b"a\0", [], errno.EINVAL, "announced, 1 came"),
    "no argv": (zygote.wire(), [], errno.EINVAL, "argv has one or more"),
    "unterminated": (zygote.wire(argc=1) + b"a\0b", [], errno.EINVAL, "announced"),
    "filter": (zygote.wire(n_filter=(1 << 32) - 1, argc=1) + b"a\0", [], errno.EINVAL, "a filter of"),
    "filter cut": (zygote.wire(n_filter=100, argc=1) + b"a\0", [], errno.EINVAL, "a filter of 100"),
    "too long": (zygote.wire(argc=1) + b"a" * 131072, [], errno.EMSGSIZE, "more than 131072 bytes"),
    "too many fds": (zygote.wire(argc=1) + b"a\0", [0] * 60, errno.EINVAL, "more than 37 descriptors"),
}


def test_a_bad_request_is_refused_and_the_image_serves_on():
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        for name, (data, fds, error, text) in BAD_REQUESTS.items():
            null = os.open("/dev/null", os.O_RDONLY)
            talk = zygote.Conversation(image.path)
            talk.send(data, [null for _ in fds])
            os.close(null)
            try:
                expect_failure(error, text, talk.receive, zygote.FORKED)
            except AssertionError as wrong:
                raise AssertionError(f"{name}: {wrong}") from None
            talk.close()
        assert image.ready()["fds"] == 4
        held = os.listdir(f"/proc/{image.process.pid}/fd")
        assert len(held) <= 5, f"descriptors are left behind: {held}"
        assert image.fork(["handlers:status7"]).started().wait() == 7


def test_a_cgroup_that_is_gone_is_told():
    with place() as (directory, subtree), zygote.Image(directory, modules=["handlers"]) as image:
        image.ready()
        gone = subtree.make("gone")
        fd = os.open(gone, os.O_RDONLY)
        gone.rmdir()
        expect_failure(errno.ENOENT, "was removed", image.fork, ["handlers:status7"], cgroup=f"/proc/self/fd/{fd}")
        os.close(fd)


def as_nobody(function):
    """Runs it in a process of another user; its status."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os._exit(function())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_only_root_and_the_owner_may_ask():
    with place() as (directory, subtree), zygote.Image(directory, modules=["handlers"]) as roots, \
            zygote.Image(directory, modules=["handlers"], user=NOBODY, group=NOBODY, extra_groups=[]) as nobodys:
        for image in (roots, nobodys):
            image.ready()
            image.path.chmod(0o777)

        def ask(image):
            try:
                image.ready()
                return 0
            except zygote.Failed as failed:
                return failed.errno

        assert as_nobody(lambda: ask(roots)) == errno.EACCES
        assert as_nobody(lambda: ask(nobodys)) == 0
        expect_failure(errno.EACCES, "delegate one subtree", nobodys.fork, ["handlers:status7"],
                       cgroup=subtree.path / "fn")
        told = run(nobodys, "about")
        assert told["uid"] == 4 * [str(NOBODY)], told
        instance = nobodys.fork(["handlers:status7"], ids=(0, 0))
        expect_failure(errno.EPERM, "setresgid", instance.started)
        assert instance.wait() == 125


def test_an_instance_is_confined_as_asked():
    refuse_uname = [(0x20, 0, 0, 0), (0x15, 0, 1, 63), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    if os.uname().machine != "x86_64":
        raise Skip("the filter names a system call of x86_64")
    filter = b"".join(struct.pack("HBBI", *row) for row in refuse_uname)
    with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
        told = run(image, "about", ids=(NOBODY, NOBODY), no_new_privs=True)
        assert told["uid"] == 4 * [str(NOBODY)] and told["groups"] == [], told
        assert told["no_new_privs"] == "1" and told["seccomp"] == "0", told
        assert run(image, "uname", filter=filter, ids=(NOBODY, NOBODY))["uname"] == "refused"
        assert run(image, "uname")["uname"] == "allowed"
        told = run(image, "about", filter=filter)
        assert told["no_new_privs"] == "1" and told["seccomp"] == "2", told
        instance = image.fork(["handlers:status7"], filter=b"\xff" * 8)
        expect_failure(errno.EINVAL, "seccomp filter", instance.started)
        instance.wait()


def test_an_instance_joins_the_namespaces_of_a_sandbox():
    if not shutil.which("unshare"):
        raise Skip("no unshare here")
    sandbox = subprocess.Popen(["unshare", "--uts", "--net", "--pid", "--mount", "--fork", "--kill-child", "sleep", "60"])
    try:
        children = pathlib.Path(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children")
        pause = int(wait_for(lambda: children.read_text().strip(), zygote.PATIENCE, "the sandbox's first process"))
        pidfd = os.pidfd_open(pause)
        with place() as (directory, _), zygote.Image(directory, modules=["handlers"]) as image:
            told = run(image, "about", pidfd=pidfd, namespaces=CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWPID)
            inside = {n: os.readlink(f"/proc/{pause}/ns/{n}") for n in ("uts", "net", "pid")}
            assert {n: told["namespaces"].get(n) for n in ("uts", "net")} == {n: inside[n] for n in ("uts", "net")}
            assert told["pid"] < told["outer_pid"] and told["ppid"] == 0, told
            again = run(image, "about")
            assert again["pid"] == again["outer_pid"], "the image forks into its own pid namespace again"
            assert again["namespaces"]["uts"] == os.readlink("/proc/self/ns/uts")
            instance = image.fork(["handlers:status7"], pidfd=pidfd, namespaces=1)
            expect_failure(errno.EINVAL, "setns to the sandbox", instance.started)
            instance.wait()
        os.close(pidfd)
    finally:
        sandbox.kill()
        sandbox.wait()


def test_an_instance_takes_the_freezer_state_of_its_cgroup_not_of_the_image():
    with place() as (directory, subtree), \
            zygote.Image(directory, modules=["handlers"], cgroup=subtree.path / "image") as image:
        image.ready()
        subtree.freeze("fn", 1)
        spare = image.fork(["handlers:status7"], cgroup=subtree.path / "fn")
        wait_for(lambda: subtree.frozen("fn"), zygote.PATIENCE, "the spare frozen")
        assert not spare.talk.early
        subtree.freeze("fn", 0)
        assert spare.started().wait() == 7
        subtree.freeze("image", 1)
        wait_for(lambda: subtree.frozen("image"), zygote.PATIENCE, "the image frozen")
        talk = zygote.ask(image.path, ["handlers:status7"], cgroup=subtree.path / "fn")
        talk.socket.settimeout(0.2)
        try:
            talk.receive(zygote.FORKED)
            raise AssertionError("a frozen image answered")
        except TimeoutError:
            pass
        talk.socket.settimeout(zygote.PATIENCE)
        subtree.freeze("image", 0)
        assert zygote.Instance(talk, talk.receive(zygote.FORKED)).started().wait() == 7


def test_a_claimed_spare_is_born_in_the_functions_cgroup_like_any_fork():
    with place() as (directory, subtree), \
            zygote.Image(directory, modules=["handlers"], cgroup=subtree.path / "image") as image:
        spare = zygote.ask_spare(image.path, subtree.make("spare"))
        assert (subtree.path / "spare/cgroup.procs").read_text().split() == [str(spare.pid)]
        subtree.freeze("spare", 1)
        wait_for(lambda: subtree.frozen("spare"), zygote.PATIENCE, "the spare frozen")
        subtree.freeze("spare", 0)
        told = run(image, "about", talk=spare.talk, cgroup=subtree.path / "fn", env={"A": "1"}, directory="/usr")
        assert told["pid"] == told["outer_pid"] == told["sid"] != spare.pid and told["ppid"] == os.getpid(), told
        assert told["cgroup"] == f"0::/{subtree.name}/fn" and told["fds"] == [0, 1, 2], told
        assert told["env"] == {"A": "1"} and told["directory"] == "/usr", told
        assert spare.wait() == 0, "what it was before has ended"
        alive = run(image, "alive", talk=zygote.ask_spare(image.path, subtree.path / "spare").talk)
        assert alive["seen"] == ["signal"] + 4 * ["thread"] + ["program"], alive


def test_random_numbers_differ_between_spares():
    with place() as (directory, subtree), zygote.Image(directory, modules=["handlers"]) as image:
        subtree.make("spare")
        spares = [zygote.ask_spare(image.path, subtree.path / "spare") for _ in range(2)]
        first, second = (run(image, "numbers", talk=spare.talk) for spare in spares)
        for source in ("random", "urandom", "uuid", "hooked"):
            assert first[source] != second[source], source
        assert [spare.wait() for spare in spares] == [0, 0]


def test_a_spare_takes_the_freezer_state_of_the_functions_cgroup():
    with place() as (directory, subtree), zygote.Image(directory, modules=["handlers"]) as image:
        spare = zygote.ask_spare(image.path, subtree.make("spare"))
        subtree.freeze("fn", 1)
        claimed = zygote.fork(spare.talk, ["handlers:status7"], cgroup=subtree.path / "fn")
        assert spare.wait() == 0
        wait_for(lambda: subtree.frozen("fn"), zygote.PATIENCE, "the instance frozen")
        assert (subtree.path / "fn/cgroup.procs").read_text().split() == [str(claimed.pid)]
        subtree.freeze("fn", 0)
        assert claimed.started().wait() == 7


def test_a_spare_that_cannot_be_had_or_claimed_says_so_and_ends():
    with place() as (directory, subtree), zygote.Image(directory, modules=["handlers"]) as image:
        spare = zygote.ask_spare(image.path, subtree.make("spare"))
        gone = os.open(subtree.make("gone"), os.O_RDONLY | os.O_DIRECTORY)
        (subtree.path / "gone").rmdir()
        expect_failure(errno.ENOENT, "removed", zygote.fork, spare.talk, ["handlers:status7"], cgroup=f"/proc/self/fd/{gone}")
        os.close(gone)
        assert spare.wait() == 125
        spare = zygote.ask_spare(image.path, subtree.path / "spare")
        spare.talk.close()
        assert spare.wait() == 0, "nobody can claim it any more"
        spare = zygote.ask_spare(image.path, subtree.path / "spare")
        spare.talk.send(b"nonsense")
        expect_failure(errno.EINVAL, "bytes", spare.talk.receive, zygote.FORKED)
        assert spare.wait() == 125
        talk = zygote.Conversation(image.path)
        talk.send(zygote.wire(zygote.SPARE, fds=4), [0])
        expect_failure(errno.EINVAL, "claim", talk.receive, zygote.FORKED)
        talk.close()


def test_the_examples_in_c_work_and_a_dead_images_socket_is_taken_over():
    with place() as (directory, subtree):
        path = directory / "primes"
        for _ in range(2):
            image = subprocess.Popen([BUILD / "zygote/image", path])
            wait_for(lambda: subprocess.run([BUILD / "zygote/run", path, "prime", "1"], capture_output=True).returncode == 0,
                     zygote.PATIENCE, "the image serves")
            argv = [BUILD / "zygote/run", "-c", subtree.path / "fn", path]
            one, two = (subprocess.run([*argv, "prime", "1000"], capture_output=True, text=True, timeout=20) for _ in "ab")
            assert one.stdout.startswith("prime 1000 is 7919;") and one.stdout != two.stdout, (one, two)
            wrong = subprocess.run([*argv, "prime", "x"], capture_output=True, text=True, timeout=20)
            assert wrong.returncode == 1 and "accepted: prime N" in wrong.stderr, wrong
            second = subprocess.run([BUILD / "zygote/image", path], capture_output=True, text=True, timeout=20)
            assert second.returncode == 1 and "an image listens there" in second.stderr, second
            image.kill()
            image.wait()
        gone = subprocess.run([*argv, "prime", "1"], capture_output=True, text=True, timeout=20)
        assert gone.returncode == 1 and "no image listens there" in gone.stderr, gone
