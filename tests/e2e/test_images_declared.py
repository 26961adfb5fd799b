# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Images by a lock of dependencies, declared through the API, and changed while the manager runs."""
import subprocess

from harness import BUILD
from test_images import Manager, refused

LOCK = "telling==1.2.0\n"


def install(m, name, version, files=("tellme.py",), top_level=None):
    """What pip leaves of a distribution, beside the modules that are there already."""
    folder = m.directory / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    if top_level is not None:
        (folder / "top_level.txt").write_text(top_level)
    return folder


def loads_tellme(m, image):
    x = m.run("loaded.py", image=image)
    answer = x.started["from"], x.line()
    assert x.end() == {"exit": 0}
    return answer


def test_lock_in_the_configuration_names_modules_and_versions():
    with Manager({"py": {}}) as m:
        install(m, "Telling", "1.2.0")
        lock = m.directory / "lock.txt"
        lock.write_text("telling==1.2 --hash=sha256:00 # as pip writes it\nabsent==1; python_version < '3'\n")
        good = m.config.read_text().replace("modules = tellme\n", f"lock = {lock}\n")
        m.config.write_text(good)
        m.stop()
        m.start()
        assert m.ask(do="build", image="py")["state"] == "resident", (m.directory / "log").read_text()
        assert loads_tellme(m, "py") == ("image", "True")
        assert m.show()["modules"] == [] and m.show()["locked"] == 2
        lock.write_text("telling==1.2\nb >= 2\n")
        found = subprocess.run([BUILD / "hearth-images", "--check-config", "-c", m.config], capture_output=True, text=True)
        assert found.returncode == 1 and f"{lock}:2: 'b >= 2'; accepted: NAME==VERSION" in found.stderr, found.stderr


def test_lock_of_other_versions_than_installed_fails_the_build():
    with Manager({"py": {}}) as m:
        install(m, "telling", "1.2.0")
        lock = m.directory / "lock.txt"
        lock.write_text(LOCK)
        m.config.write_text(m.config.read_text().replace("path =", f"lock = {lock}\npath ="))
        for text, words in (("telling==1.3\n", "telling: wanted 1.3, found 1.2.0"),
                            ("absent==2.0\ntelling==1.3\n", "absent: wanted 2.0, found none; and 1 more"),
                            ("telling==1.2; python_version ~ '3'\n", "marker 'python_version ~ '3'' is not understood")):
            lock.write_text(text)
            m.stop()
            m.start()
            assert words in refused(m, do="build", image="py")
            assert m.run("seven.py").end() == {"exit": 7}
