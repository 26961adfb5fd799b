#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The tables in the code, --help, the man pages and the completion agree.

Everything listed comes from the programs themselves: `hearth --help --json`,
`hearth config keys`, `hearth policy`, `hearthd --help`.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("HEARTH_BUILD", REPO / "build"))
wrong = []


def run(*argv):
    return subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, check=True, text=True).stdout


def hearth(*argv):
    return run(BUILD / "hearth", *argv)


def page(name):
    return (REPO / "docs/man" / name).read_text()


def expect(good, message):
    if not good:
        wrong.append(message)


def same(found, wanted, where):
    found, wanted = set(found), set(wanted)
    expect(not wanted - found, f"{where}: missing {sorted(wanted - found)}")
    expect(not found - wanted, f"{where}: not in the program: {sorted(found - wanted)}")


def section(text, title):
    """The part of a page below `# title`."""
    match = re.search(rf"^# {re.escape(title)}\n(.*?)(?=^# |\Z)", text, re.M | re.S)
    return match[1] if match else ""


def options(text):
    """Long options at the start of an entry, with what they take: {"--sort": True}."""
    found = {}
    for line in re.findall(r"^\t?(\*-.*)$", text, re.M):
        for name, value in re.findall(r"\*(--[a-z-]+)\*( _)?", line):
            found[name] = bool(value)
    return found


def check_commands():
    table = json.loads(hearth("--help", "--json"))
    man, text = page("hearth.1.scd"), hearth("--help")
    entries = dict()
    for block in re.split(r"^(?=\*hearth )", section(man, "COMMANDS"), flags=re.M)[1:]:
        name = re.match(r"\*hearth ([a-z]+)", block)[1]
        entries[name] = entries.get(name, "") + block
    same(entries, [c["name"] for c in table["commands"]], "hearth.1 COMMANDS")
    takes = {f"--{o['name']}": bool(o["arg"]) for o in table["options"]}
    expect(options(section(man, "OPTIONS")) == takes, "hearth.1 OPTIONS: not those of the program")
    for c in table["commands"]:
        takes = {f"--{o['name']}": bool(o["arg"]) for o in c["options"]}
        found = options(entries.get(c["name"], ""))
        expect(found == takes, f"hearth.1 {c['name']}: options {found}, the program has {takes}")
        expect(re.search(rf"^  {c['name']}\b.*{re.escape(c['help'])}$", text, re.M), f"--help: no line for {c['name']}")
        own = hearth(c["name"], "--help")
        for o in c["options"]:
            expect(f"--{o['name']}" in own and o["help"] in own, f"{c['name']} --help: no --{o['name']}")
    return table


def complete(script, *words):
    """What bash would offer for the last of the words."""
    shell = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _hearth; '
             'printf "%s\\n" "${COMPREPLY[@]}"')
    found = run("bash", "-c", shell, "bash", script, "hearth", *words)
    return [line for line in found.splitlines() if line]


def check_completion(table):
    script = BUILD / "docs-agree.bash"
    script.write_text(hearth("--completion", "bash"))
    same(complete(script, ""), [c["name"] for c in table["commands"]], "completion of commands")
    always = [f"--{o['name']}" for o in table["options"]]
    for c in table["commands"]:
        own = [f"--{o['name']}" for o in c["options"]]
        same(complete(script, c["name"], "--"), own + always, f"completion of {c['name']}")
        for o in c["options"]:
            name = f"-{o['letter']}" if o.get("letter") else f"--{o['name']}"
            after = complete(script, c["name"], name, "--json")
            expect(bool(after) != bool(o["arg"]), f"completion of {c['name']} {name}: wrong about its value")
    script.unlink()


def check_keys():
    keys = json.loads(hearth("config", "keys", "--json"))["keys"]
    man, titles = page("hearth.conf.5.scd"), {"rule": "[rule NAME]", "function": "[function GLOB]"}
    for name in {k["section"] for k in keys}:
        title = titles.get(name, f"[{name}]")
        found = re.findall(r"^\*([a-z_]+)\*$", section(man, title), re.M)
        same(found, [k["key"] for k in keys if k["section"] == name], f"hearth.conf.5 {title}")
    fixed = re.search(r"take a restart; [^:]*:(.*?)\.\n", section(man, "DESCRIPTION"), re.S)
    same(re.findall(r"\*(\w+)\*", fixed[1]), [k["key"] for k in keys if k["restart"]], "hearth.conf.5, what takes a restart")
    for k in keys:
        text = re.search(rf"^\*{k['key']}\*\n(.*?)(?=^\*|^# |\Z)",
                         section(man, titles.get(k["section"], f"[{k['section']}]")), re.M | re.S)
        default = (k["default"] or "").strip()
        words = " ".join(text[1].split()) if text else ""
        expect(not default or re.search(rf"\b_?{re.escape(default)}_?\b|{re.escape(default)}", words),
               f"hearth.conf.5 [{k['section']}] {k['key']}: default {default} is not told")


def check_policies():
    policies = json.loads(hearth("policy", "--json"))["policies"]
    text = section(page("hearth-policy.7.scd"), "POLICIES")
    found = [name for line in re.findall(r"^(\*[a-z].*)$", text, re.M) for name in re.findall(r"\*([a-z-]+)(?::\w+)?\*", line)]
    same((name for name in found if name != "cost"), [p["name"] for p in policies], "hearth-policy.7")


def check_agent():
    known = set(re.findall(r"--[a-z-]+", run(BUILD / "hearthd", "--help")))
    same(options(section(page("hearthd.8.scd"), "OPTIONS")), known, "hearthd.8 OPTIONS")


def check_images():
    """hearth-images: its options, and the keys of its sample, which it must take, in its man page."""
    man = page("hearth-images.8.scd")
    known = set(re.findall(r"--[a-z-]+", run(BUILD / "hearth-images", "--help")))
    same(options(section(man, "OPTIONS")), known, "hearth-images.8 OPTIONS")
    sample = re.sub(r"^#(?=\[|[a-z_]+ =)", "", (REPO / "deploy/images.conf").read_text(), flags=re.M)
    for title, begin in ("[manager]", "manager"), ("[image NAME]", "image "):
        keys = re.search(rf"^\[{begin}[^\n]*\]\n(.*?)(?=^\[|\Z)", sample, re.M | re.S)[1]
        told = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^##? |\Z)", man, re.M | re.S)[1]
        found = [name for line in re.findall(r"^(\*[a-z_]+\*(?:, \*[a-z_]+\*)*)$", told, re.M)
                 for name in re.findall(r"[a-z_]+", line)]
        same(found, re.findall(r"^([a-z_]+) =", keys, re.M), f"hearth-images.8 {title}")
    file = BUILD / "docs-agree.conf"
    file.write_text(sample.replace("owner = faas", "owner = root"))
    taken = subprocess.run([BUILD / "hearth-images", "--check-config", "-c", file], capture_output=True, text=True)
    expect(taken.returncode == 0, f"deploy/images.conf: {taken.stderr}")
    file.unlink()


check_completion(check_commands())
check_keys()
check_policies()
check_agent()
check_images()
print("\n".join(wrong) or "all agree")
sys.exit(bool(wrong))
