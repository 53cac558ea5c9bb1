"""The lab itself: what it starts works, and when it is down nothing of it is left, also after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "molecule" / "lab" / "lab"
#: How much the lab of these tests yields to what else runs.
NICE = 3
HOSTS = """
[[host]]
name = "one"
address = 11
memory = 512
groups = ["swarm_managers"]
default = true
certificate = true

[[host]]
name = "two"
address = 12
memory = 512
groups = ["swarm_workers"]
default = true
"""


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def leftovers() -> dict[str, object]:
    """What a lab could leave on this machine."""
    commands = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            commands[entry.name] = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it ended while we looked
    return {
        "processes": sorted(text for text in commands.values() if "flowstead-selftest" in text),
        "namespaces": [line for line in output("ip", "netns", "list").splitlines() if "selftest" in line],
        "mounts": Path("/proc/self/mounts").read_text(),
        "loop devices": output("losetup", "--all"),
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "memory": sorted(path.name for path in Path("/dev/shm").iterdir()),
    }


class Lab:
    """A lab of two small hosts under a name of its own."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.hosts = directory / "hosts.toml"
        self.hosts.write_text(HOSTS)

    def __call__(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["nice", "-n", str(NICE), str(LAB), "--name", self.name, "--hosts", str(self.hosts), *words],
            env={**os.environ, "FLOWSTEAD_LAB_STATE": str(self.directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"lab {' '.join(words)} ended with {done.returncode}: {done.stderr}"
        return done

    def ask(self, host: str, command: str) -> str:
        return self("ssh", host, command).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Whatever the tests of this file did, the machine is as it was."""
    before = leftovers()
    yield
    assert leftovers() == before


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab("selftest", tmp_path_factory.mktemp("lab"))
    made("up")
    yield made
    made("down")


def test_hosts_run_systemd_and_know_their_names(lab: Lab):
    for name in ("one", "two"):
        assert lab.ask(name, "hostname") == name
        assert lab.ask(name, "ps -o comm= -p 1") == "systemd"
    assert lab.ask("one", "cat /etc/machine-id") != lab.ask("two", "cat /etc/machine-id")


def test_all_processes_of_a_host_stay_on_one_cpu_of_the_machine(lab: Lab):
    def allowed(process: int) -> list[frozenset[int]]:
        below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [frozenset(os.sched_getaffinity(process)), *(cpus for child in below for cpus in allowed(int(child)))]

    found = {}
    for host in ("one", "two"):
        process = int(output("pgrep", "--full", f"umid=flowstead-selftest-{host} ").split()[0])
        lab.ask(host, "true")
        found[host] = allowed(process)
        assert len(found[host]) > 3, "the kernel, and the processes that carry its own"
        assert len({*found[host]}) == 1
        assert len(found[host][0]) == 1
    assert found["one"][0] != found["two"][0] or len(os.sched_getaffinity(0)) == 1


def test_a_host_yields_as_much_as_whoever_started_it(lab: Lab):
    process = int(output("pgrep", "--full", "umid=flowstead-selftest-one ").split()[0])
    wanted = os.nice(0) + NICE
    assert os.getpriority(os.PRIO_PROCESS, process) == wanted
    session = Path(f"/proc/{process}/autogroup")
    if session.exists():  # where the kernel shares the processor by sessions, too
        assert session.read_text().split()[-1] == str(wanted)


def test_hosts_find_each_other_by_name(lab: Lab):
    assert lab.ask("one", "getent hosts two.lab.test").split()[0] == "10.77.0.12"


def test_hosts_reach_packages_only_through_the_proxy(lab: Lab):
    assert lab.ask("one", "grep -rl -i proxy /etc/apt || echo none") == "none"
    interfaces = lab("exec", "--", "ip", "-brief", "link").stdout.split("\n")
    names = {line.split()[0].partition("@")[0].rstrip("0123456789") for line in interfaces if line}
    assert names == {"lo", "lab", "bridge", "guest"}, "nothing leads out of the lab's network"
    assert "Fetched" in lab.ask("one", "http_proxy=http://10.77.0.1:3128 apt-get update 2>&1")


def test_a_file_survives_power_loss_and_a_reboot_but_no_reset(lab: Lab):
    lab.ask("two", "echo kept > /root/file && sync")
    lab("kill", "two")
    assert "two" in lab("kill", "two", code=1).stderr
    lab("start", "two")
    assert lab.ask("two", "cat /root/file") == "kept"
    boot = lab.ask("two", "cat /proc/sys/kernel/random/boot_id")
    lab("reboot", "two")
    assert lab.ask("two", "cat /proc/sys/kernel/random/boot_id") != boot
    assert lab.ask("two", "cat /root/file") == "kept"
    lab("reset", "two")
    assert lab.ask("two", "cat /root/file 2>/dev/null || echo gone") == "gone"


def test_a_host_that_is_cut_off_is_not_reached_until_it_is_healed(lab: Lab):
    reach = "timeout 3 bash -c '</dev/tcp/10.77.0.12/22' 2>/dev/null && echo open || echo closed"
    assert lab.ask("one", reach) == "open"
    lab("cut", "two")
    assert lab.ask("one", reach) == "closed"
    assert '"state": "cut"' in lab("status", "--json").stdout
    lab("heal", "two")
    assert lab.ask("one", reach) == "open"


def test_a_slow_line_is_slow_until_it_is_healed(lab: Lab):
    lab("slow", "two", "--delay", "300")
    assert "delay 300ms" in lab.ask("two", "tc qdisc show")
    lab("heal", "two")
    assert "delay" not in lab.ask("two", "tc qdisc show")


def test_the_certificate_of_a_host_is_that_of_the_labs_authority(lab: Lab):
    pki = lab.directory / "selftest" / "pki"
    done = output("openssl", "verify", "-CAfile", str(pki / "authority.pem"), str(pki / "one.pem"))
    assert "OK" in done
    text = output("openssl", "x509", "-in", str(pki / "one.pem"), "-noout", "-ext", "subjectAltName")
    assert "one.lab.test" in text
    assert "10.77.0.11" in text


def test_two_labs_side_by_side_do_not_meet_and_a_crashed_one_leaves_nothing(lab: Lab, tmp_path: Path):
    before = leftovers()
    other = Lab("selftest2", tmp_path)
    other("up", "one")
    assert other.ask("one", "hostname") == "one"
    assert lab.ask("two", "hostname") == "two"
    # A crash: the gateway dies, and so does a part of the guest.
    (gateway,) = [line for line in processes("gateway") if "flowstead-selftest2" in line[1]]
    os.kill(gateway[0], signal.SIGKILL)
    os.kill(min(pid for pid, text in processes("umid=flowstead-selftest2-one")), signal.SIGSTOP)
    other("down")
    assert leftovers() == before
    assert lab.ask("one", "hostname") == "one", "the other lab goes on"


def processes(word: str) -> list[tuple[int, str]]:
    """Processes that have this word in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended while we looked
        if word in words:
            found.append((int(entry.parent.name), " ".join(words)))
    return found
