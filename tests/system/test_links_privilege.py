"""Giving up root, in a process of its own each time."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.root

REPORT = """
import json, os, sys
from pytools.link import privilege
def mine():
    return {
        "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
        "caps": [privilege.capabilities(kind) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")],
        "no_new_privs": privilege.status("NoNewPrivs"), "ctypes": "ctypes" in sys.modules,
    }
"""


def report(program, prefix=(), **environment):
    environment = {**os.environ, **environment}
    for name in ("SUDO_UID", "SUDO_GID"):
        if not environment.get(name):
            environment.pop(name, None)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", REPORT + program + "\nprint(json.dumps(mine()))"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_root_becomes_nobody_without_anything():
    after = report("privilege.drop()", ("setpriv", "--groups=4,24"), SUDO_UID="", SUDO_GID="")
    assert after["uid"] == [65534] * 3
    assert after["gid"] == [65534] * 3
    assert after["groups"] == []
    assert after["caps"] == [0] * 5
    assert after["no_new_privs"] == "1"


def test_behind_sudo_root_becomes_who_called_it():
    after = report("privilege.drop()", SUDO_UID="1234", SUDO_GID="2345")
    assert (after["uid"], after["gid"], after["caps"]) == ([1234] * 3, [2345] * 3, [0] * 5)


@pytest.mark.parametrize("uid", ["0", "-1", "root", "99999999999"])
def test_a_strange_sudo_uid_means_nobody(uid):
    assert report("privilege.drop()", SUDO_UID=uid, SUDO_GID="1")["uid"] == [65534] * 3


def test_there_is_no_way_back():
    program = """
privilege.drop()
for attempt in (lambda: os.setuid(0), lambda: os.open("/etc/shadow", os.O_RDONLY), lambda: os.setgroups([0])):
    try: attempt()
    except PermissionError: continue
    sys.exit("there is")
"""
    report(program, SUDO_UID="", SUDO_GID="")


def test_dropping_twice_is_dropping_once():
    assert report("privilege.drop(); privilege.drop()", SUDO_UID="", SUDO_GID="")["uid"] == [65534] * 3


def test_a_user_with_file_capabilities_keeps_the_uid_only():
    prefix = (
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *("--inh-caps=+net_raw,+net_admin", "--ambient-caps=+net_raw,+net_admin"),
    )
    before = report("", prefix)
    assert before["caps"][2] == 1 << 12 | 1 << 13
    after = report("privilege.drop()", prefix)
    assert after["uid"] == [65534] * 3
    assert after["caps"][:3] + after["caps"][4:] == [0] * 4
    assert after["no_new_privs"] == "1"


def test_a_container_whose_root_may_not_change_its_uid_gives_up_its_capabilities():
    prefix = ("setpriv", "--bounding-set=-setuid,-setgid,-setpcap")
    after = report("privilege.drop()", prefix, SUDO_UID="", SUDO_GID="")
    assert after["uid"] == [0] * 3
    assert after["caps"][:3] == [0] * 3


def test_root_of_a_user_namespace_that_maps_nobody_else_gives_up_its_capabilities():
    after = report("privilege.drop()", ("unshare", "--user", "--map-root-user"), SUDO_UID="", SUDO_GID="")
    assert (after["uid"], after["caps"]) == ([0] * 3, [0] * 5)


def test_an_ordinary_user_loses_nothing_and_loads_nothing(nobody):
    done = nobody.run(
        "-c", REPORT + "before = mine(); privilege.drop(); assert mine() == before; print(before['ctypes'])"
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_with_other_threads_running_it_is_refused():
    program = """
import threading
stop = threading.Event()
threading.Thread(target=stop.wait, daemon=True).start()
try: privilege.drop()
except Exception as error: assert "threads" in str(error), error
else: sys.exit("went on")
"""
    assert report(program)["uid"] == [0] * 3


def test_what_was_opened_before_works_on():
    program = """
from pytools.link import host, bpf
from pytools.link.packet_socket import PacketLink
from pytools.engine import Transmit
link = PacketLink(host.interface("lo"), bpf.Interest(addresses=[bytes(4)]), tx_stamps=True)
privilege.drop()
link.attach(bpf.Interest(everything=True))
assert link.send(Transmit(0, (bytes(12) + b"\\x08\\0" + bytes(20),), token="t"))
assert link.drops() == 0
"""
    assert report(program)["caps"] == [0] * 5


def test_a_new_file_goes_to_who_called_sudo(tmp_path):
    path = tmp_path / "capture"
    program = f"""
descriptor = os.open({str(path)!r}, os.O_CREAT | os.O_WRONLY)
privilege.give_to_invoking_user(descriptor)
"""
    report(program, SUDO_UID="1234", SUDO_GID="2345")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)
