# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a lock of dependencies means for an image: are they what is installed, and which modules are theirs?

A lock is lines of NAME==VERSION or NAME==VERSION; MARKER, as hearth-images makes them
from pip's requirements files. What is installed is told by the metadata that pip leaves,
looked for where modules would be.
"""
import ast
import importlib
import operator
import os
import platform
import re
import sys

_ORDER = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
          ast.Eq: operator.eq, ast.NotEq: operator.ne}


class Wrong(Exception):
    pass


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def version_key(text):
    """Equal for versions that mean the same: 1.0 and 1.0.0, 1.0-rc.1 and 1.0rc1."""
    text = re.sub(r"(?<=\d)[-_.]?(alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?=\d)",
                  lambda m: {"alpha": "a", "beta": "b", "preview": "rc", "pre": "rc", "c": "rc"}.get(m[1], m[1]),
                  text.lower().lstrip("v"))
    text = re.sub(r"(?<!\d)0+(?=\d)", "", text)
    return re.sub(r"(?:\.0+)+(?=$|[^\d.]|\.[a-z])", "", re.sub(r"[-_]", ".", text))


def same_version(wanted, found):
    """A lock without a local part (+cpu) takes any, as pip does."""
    if "+" not in wanted:
        found = found.split("+")[0]
    return version_key(wanted) == version_key(found)


# ---- markers

def environment():
    return {"python_version": "%d.%d" % sys.version_info[:2], "python_full_version": platform.python_version(),
            "os_name": os.name, "sys_platform": sys.platform, "platform_release": platform.release(),
            "platform_system": platform.system(), "platform_version": platform.version(),
            "platform_machine": platform.machine(), "implementation_name": sys.implementation.name,
            "platform_python_implementation": platform.python_implementation(), "extra": ""}


def _numbers(text):
    return [int(part) for part in text.split(".")] if re.fullmatch(r"\d+(\.\d+)*", text) else None


def _compare(op, left, right):
    if type(op) in (ast.In, ast.NotIn):
        return (left in right) == (type(op) is ast.In)
    a, b = _numbers(left), _numbers(right)
    if a is not None and b is not None:
        size = max(len(a), len(b))
        left, right = a + [0] * (size - len(a)), b + [0] * (size - len(b))
    return _ORDER[type(op)](left, right)


def _evaluate(node, names):
    if isinstance(node, ast.BoolOp):
        found = [_evaluate(value, names) for value in node.values]
        return all(found) if isinstance(node.op, ast.And) else any(found)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _compare(node.ops[0], _evaluate(node.left, names), _evaluate(node.comparators[0], names))
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError(node)


def applies(marker):
    """Is this line of the lock for this interpreter and system?"""
    try:
        found = _evaluate(ast.parse(marker.strip(), mode="eval").body, environment())
        if isinstance(found, bool):
            return found
    except (SyntaxError, ValueError, KeyError, RecursionError, TypeError):
        pass
    raise Wrong(f"marker '{marker.strip()}' is not understood")


# ---- distributions

def entries(lock):
    """(name, version) of the lines that apply."""
    for line in lock.splitlines():
        requirement, _, marker = line.partition(";")
        if not marker or applies(marker):
            name, _, version = requirement.strip().partition("==")
            yield name, version


def installed():
    """The distributions that an import would find, by name: the first of each on the path."""
    from importlib import metadata
    found = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(normal(name), distribution)
    return found


def check(lock):
    """The distributions of a lock; Wrong if any is not there as locked."""
    there, wrong, good = installed(), [], []
    for name, version in entries(lock):
        distribution = there.get(name)
        if distribution is None:
            wrong.append(f"{name}: wanted {version}, found none")
        elif not same_version(version, distribution.version):
            wrong.append(f"{name}: wanted {version}, found {distribution.version}")
        else:
            good.append(distribution)
    if wrong:
        raise Wrong(wrong[0] + (f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""))
    return good


def top_level(distribution):
    """Names of modules and packages that it has put on the path."""
    names = set((distribution.read_text("top_level.txt") or "").split())
    if not names:
        for file in distribution.files or ():
            if len(file.parts) > 1:
                names.add(file.parts[0])
            elif file.suffix in (".py", ".so"):
                names.add(file.name.split(".")[0])
    return sorted(name for name in names if name.isidentifier() and not name.startswith("__"))


def load(lock, modules):
    """
    Checks a lock, then loads these modules, or without any those of its distributions: of
    these, one that cannot be loaded is left to the functions, and told.
    """
    distributions = check(lock)
    for name in modules:
        importlib.import_module(name)
    if modules:
        return
    loaded = 0
    for name in sorted({name for distribution in distributions for name in top_level(distribution)}):
        try:
            importlib.import_module(name)
            loaded += 1
        except Exception as error:
            print(f"hearth_lock: {name} is not loaded: {type(error).__name__}: {error}", file=sys.stderr)
    if not loaded:
        raise Wrong("none of its modules could be loaded")
