#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Attacks on the guard. guard_agent (the freeze protocol without hooks or
policy) freezes real cgroups and is then killed, stopped, muted or starved:
nothing that it froze may stay frozen, nothing else may be thawed.

Usage: test_guard.py [unittest options]; HEARTH_BUILD names the build folder.
"""
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AGENT = os.path.join(os.environ.get("HEARTH_BUILD", os.path.join(ROOT, "build")), "e2e/guard_agent")
DEADLINE_S = 10  # for conditions; a run by hand prints how long they really took
VERBOSE = __name__ == "__main__"


def cgroup2_mount():
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.split(" - ")
            if right.split()[0] == "cgroup2" and left.split()[3] == "/":
                return left.split()[4]
    return None


MOUNT = cgroup2_mount()
BASE = f"hearth-test-guard-e2e-{os.getpid()}"


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def wait_for(condition, what):
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > DEADLINE_S:
            raise AssertionError(f"not within {DEADLINE_S} s: {what}")
        time.sleep(0.002)
    return time.monotonic() - start


def state_of(pid):
    try:
        return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid):
    return state_of(pid) not in (None, "Z", "X")


class Cgroup:
    def __init__(self, name, procs=1):
        self.rel = f"{BASE}/{name}"
        self.path = f"{MOUNT}/{self.rel}"
        os.makedirs(self.path)
        self.children = [self.run("sleep", "1000") for _ in range(procs)]

    def run(self, *argv, **kwargs):
        enter = f'echo $$ > "{self.path}/cgroup.procs" && exec "$@"'
        child = subprocess.Popen(["sh", "-c", enter, "sh", *argv], **kwargs)
        wait_for(lambda: str(child.pid) in read(f"{self.path}/cgroup.procs").split() or
                 child.poll() is not None, "process in its cgroup")
        return child

    def freeze(self):
        write(f"{self.path}/cgroup.freeze", "1")

    def asked(self):
        return read(f"{self.path}/cgroup.freeze").strip() == "1"

    def frozen(self):
        return "frozen 1" in read(f"{self.path}/cgroup.events")

    def free(self):
        return not self.asked() and not self.frozen()

    def remove(self):
        if not os.path.isdir(self.path):
            return
        write(f"{self.path}/cgroup.kill", "1")
        for child in self.children:
            child.wait()
        wait_for(lambda: "populated 0" in read(f"{self.path}/cgroup.events"), "empty cgroup")
        os.rmdir(self.path)


class Agent:
    def __init__(self, run_dir, priority=10, cgroup=None, muted=False):
        argv = [AGENT, run_dir, str(priority), *(["muted"] if muted else [])]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                     stderr=None if VERBOSE else subprocess.DEVNULL)
        self.process = cgroup.run(*argv, **pipes) if cgroup else subprocess.Popen(argv, **pipes)
        self.pid = self.process.pid
        first = self.line()
        if not first.isdigit():
            raise AssertionError(f"agent did not start: {first}")
        self.guard = int(first)
        if not muted:
            self.wait_watching()

    def line(self):
        if not select.select([self.process.stdout], [], [], DEADLINE_S)[0]:
            raise AssertionError("the agent does not answer")
        return self.process.stdout.readline().strip()

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        return self.line()

    def wait_watching(self):
        return wait_for(lambda: self.ask("health") == "watching", "guard on watch")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self.signal(signal.SIGSTOP)
        wait_for(lambda: state_of(self.pid) == "T", "agent stopped")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@unittest.skipUnless(os.geteuid() == 0 and MOUNT, "needs root and a cgroup2 mount")
class GuardTest(unittest.TestCase):
    def setUp(self):
        self.run_dir = tempfile.mkdtemp(prefix="hearth-guard-")
        self.agents, self.cgroups = [], []

    def tearDown(self):
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.signal(signal.SIGCONT)
            agent.end()
        for cgroup in self.cgroups:
            cgroup.remove()
        wait_for(lambda: not any(alive(a.guard) for a in self.agents), "guards gone")
        self.thaw_leftovers()
        self.assertEqual(self.guard_cgroups(), [], "guard cgroups left behind")
        shutil.rmtree(self.run_dir)
        if os.path.isdir(f"{MOUNT}/{BASE}"):
            os.rmdir(f"{MOUNT}/{BASE}")

    def thaw_leftovers(self):
        subprocess.run([AGENT, "--thaw", self.run_dir], check=True,
                       stderr=None if VERBOSE else subprocess.DEVNULL)

    def guard_cgroups(self):
        """Cgroups of the guards of this test, by the name the guard gives them."""
        h = 2166136261
        for byte in os.path.realpath(self.run_dir).encode():
            h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
        name = f"hearth-guard-{h:08x}"
        return [n for n in os.listdir(MOUNT) if n == name]

    def agent(self, **kwargs):
        self.agents.append(Agent(self.run_dir, **kwargs))
        return self.agents[-1]

    def cgroup(self, name, procs=1):
        self.cgroups.append(Cgroup(name, procs))
        return self.cgroups[-1]

    def frozen(self, agent, count=3):
        cgroups = [self.cgroup(f"fn{i}") for i in range(count)]
        for cgroup in cgroups:
            self.assertEqual(agent.ask(f"freeze {cgroup.rel}"), "frozen")
        for cgroup in cgroups:
            wait_for(cgroup.frozen, "frozen")
        return cgroups

    def all_free(self, cgroups, what):
        took = wait_for(lambda: all(c.free() for c in cgroups), f"{what}: all thawed")
        if VERBOSE:
            print(f"    {what}: {len(cgroups)} thawed after {took * 1000:.0f} ms")

    def foreign(self):
        cgroup = self.cgroup("foreign")
        cgroup.freeze()
        wait_for(cgroup.frozen, "frozen")
        return cgroup

    def hogs(self, count=4):
        argv = [sys.executable, "-c", "while True: pass"]
        hogs = [subprocess.Popen(argv) for _ in range(count)]
        for hog in hogs:
            self.addCleanup(hog.wait)
            self.addCleanup(hog.kill)
        return hogs

    def test_sigkill_thaws_all_and_the_guard_follows(self):
        agent, foreign = self.agent(), self.foreign()
        cgroups = self.frozen(agent)
        agent.signal(signal.SIGKILL)
        self.all_free(cgroups, "SIGKILL")
        self.assertTrue(foreign.frozen(), "a freeze of somebody else was undone")
        wait_for(lambda: not alive(agent.guard), "guard gone")
        self.assertEqual(self.guard_cgroups(), [])

    def test_exit_without_cleaning_up_thaws_all(self):
        agent = self.agent()
        cgroups = self.frozen(agent)
        agent.process.stdin.write("exit\n")
        self.all_free(cgroups, "exit")

    def test_sigstop_thaws_all_and_the_agent_recovers(self):
        agent, foreign = self.agent(), self.foreign()
        cgroups = self.frozen(agent)
        epoch = agent.ask("epoch")
        agent.stop()
        self.all_free(cgroups, "SIGSTOP")
        self.assertTrue(foreign.frozen())
        agent.signal(signal.SIGCONT)
        self.assertNotEqual(agent.ask("epoch"), epoch)
        wait_for(lambda: agent.ask("believed") == "", "agent forgot its beliefs")
        for cgroup in cgroups:
            self.assertEqual(agent.ask(f"freeze {cgroup.rel}"), "frozen")
        agent.stop()
        self.all_free(cgroups, "second SIGSTOP")
        self.assertTrue(alive(agent.guard))

    def test_silence_of_the_wake_thread_thaws_all(self):
        agent = self.agent()
        cgroups = self.frozen(agent)
        agent.ask("mute 1")
        self.all_free(cgroups, "hang")
        agent.ask(f"freeze {cgroups[0].rel}")
        self.all_free(cgroups, "freeze during a hang")
        agent.ask("mute 0")
        wait_for(lambda: agent.ask(f"freeze {cgroups[0].rel}") == "frozen" and
                 not time.sleep(0.5) and cgroups[0].frozen(), "frozen again")

    def test_nothing_is_frozen_before_the_first_beat(self):
        agent, cgroup = self.agent(muted=True), self.cgroup("fn")
        wait_for(lambda: self.head(48), "the guard's first poll")
        self.assertEqual(agent.ask("health"), "starting")
        self.assertEqual(agent.ask(f"freeze {cgroup.rel}"), "unguarded")
        agent.ask("mute 0")
        agent.wait_watching()
        self.assertEqual(agent.ask(f"freeze {cgroup.rel}"), "frozen")

    def test_stopped_between_intent_and_write_is_caught(self):
        agent, cgroup = self.agent(), self.cgroup("fn")
        self.assertEqual(agent.ask(f"intend {cgroup.rel}"), "ok")
        epoch = agent.ask("epoch")
        agent.stop()
        agent.signal(signal.SIGCONT)
        agent.stop()
        # The write of 1 that was under way; the agent cannot look at the table any more.
        wait_for(lambda: self.epoch() != int(epoch), "guard fired")
        cgroup.freeze()
        self.all_free([cgroup], "late write of 1")

    def epoch(self):
        return self.head(56)

    def head(self, offset):
        """A word of the table's head (guard_layout.h)."""
        with open(f"{self.run_dir}/guard.table", "rb") as f:
            return int.from_bytes(f.read(128)[offset:offset + 8], sys.byteorder)

    def test_both_killed_at_once_is_undone_by_thaw(self):
        agent, foreign = self.agent(), self.foreign()
        cgroups = self.frozen(agent)
        os.kill(agent.guard, signal.SIGSTOP)
        agent.stop()
        os.kill(agent.guard, signal.SIGKILL)
        agent.signal(signal.SIGKILL)
        agent.process.wait()
        self.assertTrue(all(c.frozen() for c in cgroups))
        self.thaw_leftovers()
        self.all_free(cgroups, "--thaw")
        self.assertTrue(foreign.frozen())

    def test_both_killed_at_once_is_undone_by_the_next_agent(self):
        agent = self.agent()
        cgroups = self.frozen(agent)
        os.kill(agent.guard, signal.SIGKILL)
        agent.signal(signal.SIGKILL)
        agent.process.wait()
        self.agent()
        self.all_free(cgroups, "next agent")

    def test_a_killed_guard_is_noticed_and_replaced(self):
        agent = self.agent()
        cgroups = self.frozen(agent)
        spare = self.cgroup("spare")
        old = agent.guard
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: agent.ask("health") == "dead", "dead guard noticed")
        self.assertEqual(agent.ask(f"freeze {spare.rel}"), "unguarded")
        agent.guard = int(agent.ask("respawn"))
        agent.wait_watching()
        self.assertEqual(agent.ask(f"freeze {spare.rel}"), "frozen")
        agent.signal(signal.SIGKILL)
        self.all_free(cgroups + [spare], "SIGKILL after a respawn")

    def test_a_stopped_guard_is_noticed(self):
        agent, spare = self.agent(), self.cgroup("spare")
        os.kill(agent.guard, signal.SIGSTOP)
        wait_for(lambda: agent.ask("health") == "starting", "stuck guard noticed")
        self.assertEqual(agent.ask(f"freeze {spare.rel}"), "unguarded")
        os.kill(agent.guard, signal.SIGCONT)
        agent.wait_watching()

    def test_a_guard_outlives_the_kill_of_the_agents_cgroup(self):
        unit = self.cgroup("unit", procs=0)
        agent = self.agent(cgroup=unit)
        cgroups = self.frozen(agent)
        write(f"{unit.path}/cgroup.kill", "1")
        self.all_free(cgroups, "cgroup.kill of the unit")

    def test_polite_signals_do_not_end_the_guard(self):
        agent = self.agent()
        cgroups = self.frozen(agent)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
                       signal.SIGUSR1, signal.SIGPIPE):
            os.kill(agent.guard, number)
        agent.wait_watching()
        agent.signal(signal.SIGKILL)
        self.all_free(cgroups, "SIGKILL after SIGTERM to the guard")

    def no_false_alarm(self, priority):
        agent = self.agent(priority=priority)
        cgroups = self.frozen(agent)
        epoch = agent.ask("epoch")
        self.hogs()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.assertTrue(all(c.asked() for c in cgroups), "thawed without need")
            time.sleep(0.1)
        self.assertEqual(agent.ask("epoch"), epoch)
        agent.signal(signal.SIGKILL)
        self.all_free(cgroups, f"SIGKILL under load, priority {priority}")

    def test_no_false_alarm_on_a_starved_machine(self):
        self.no_false_alarm(priority=10)

    def test_no_false_alarm_without_real_time_priority(self):
        self.no_false_alarm(priority=0)

    def test_two_hundred_cgroups_under_load(self):
        agent = self.agent()
        cgroups = self.frozen(agent, 200)
        self.hogs()
        agent.signal(signal.SIGKILL)
        self.all_free(cgroups, "200 cgroups under load")

    def test_removed_cgroups_do_not_stop_the_others(self):
        agent = self.agent()
        cgroups = self.frozen(agent, 6)
        for cgroup in cgroups[::2]:
            cgroup.remove()
        agent.signal(signal.SIGKILL)
        self.all_free(cgroups[1::2], "SIGKILL with half of them removed")
        wait_for(lambda: not alive(agent.guard), "guard gone")

    def test_a_second_agent_in_the_same_folder_is_refused(self):
        self.agent()
        second = subprocess.run([AGENT, self.run_dir, "0"], input="", capture_output=True,
                                text=True, timeout=DEADLINE_S)
        self.assertEqual(second.returncode, 1)
        self.assertIn("busy", second.stdout.lower())

    def test_stops_at_any_step_leave_nothing_frozen(self):
        """SIGSTOP and SIGCONT against an agent that freezes and thaws all the
        time with delays at each step; then no frozen cgroup is unknown to it."""
        agent = self.agent()
        cgroups = [self.cgroup(f"fn{i}") for i in range(12)]
        for cgroup in cgroups:
            agent.ask(f"add {cgroup.rel}")
        agent.ask("delay 1")
        agent.ask("churn 1")
        rng = random.Random(1)
        for _ in range(25):
            time.sleep(rng.random() * 0.05)
            for _ in range(rng.randrange(3)):  # flips too short for the guard to see
                agent.stop()
                agent.signal(signal.SIGCONT)
            agent.stop()
            wait_for(lambda: all(c.free() for c in cgroups), "all thawed while stopped")
            agent.signal(signal.SIGCONT)
        agent.ask("churn 0")
        agent.ask("delay 0")

        def consistent():
            believed = set(agent.ask("believed").split())
            return {c.rel for c in cgroups if c.asked()} <= believed
        wait_for(consistent, "no cgroup frozen without the agent's knowledge")
        agent.ask("churn 1")
        wait_for(lambda: any(c.asked() for c in cgroups), "churning again")
        agent.signal(signal.SIGKILL)
        self.all_free(cgroups, "SIGKILL in the middle of a churn")


if __name__ == "__main__":
    unittest.main(verbosity=2)
