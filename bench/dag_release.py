"""1,000 DAG files to three nodes over NFS, from the command to "every node sees it": ours beside copy and synchronize.

    python bench/dag_release.py             a lab of its own, with the platform on it: about 15 minutes more
    python bench/dag_release.py --lab lab   on a lab where inventories/lab is deployed already

Each of the three is one run of ansible-playbook that ends when every node sees the new files. Needs root, like the lab.
copy, which takes a second or more for each file, is stopped after COPY_SECONDS; its time for all is then what it would
need at that pace.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / "molecule" / "lab" / "lab"
INVENTORY = ROOT / "inventories" / "lab"
SHARE = "/srv/airflow/dags/lab"
FILES, SIZE = 1000, 10 * 1024
DAGS = 20
COPY_SECONDS = 120

PEERS = """
- hosts: swarm_managers
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Bring the tree with copy
      ansible.builtin.copy:
        src: "{{ tree }}/"
        dest: "{{ target }}/"
        mode: preserve
      when: peer == 'copy' and inventory_hostname == 'swarm1'
    - name: Bring the tree with synchronize
      ansible.posix.synchronize:
        src: "{{ tree }}/"
        dest: "{{ target }}/"
        delete: true
        use_ssh_args: true # the lab's hosts are known to its own configuration of ssh
      when: peer == 'synchronize' and inventory_hostname == 'swarm1'
    - name: Wait until this node sees the last file
      ansible.builtin.wait_for:
        path: "{{ target }}/version.py"
        search_regex: "{{ version }}"
        sleep: 1
        timeout: 180
"""


def tree(place: Path, version: str) -> None:
    """A thousand files of ten KiB that a program cannot compress away, 20 of them with a DAG."""
    noise = random.Random(7)  # noqa: S311 - the same files every time
    place.mkdir(parents=True, exist_ok=True)
    for number in range(FILES - 1):
        package = place / f"package_{number // 50:02}"
        package.mkdir(exist_ok=True)
        dag = number % (FILES // DAGS) == 0
        text = f"from airflow.sdk import DAG\nwith DAG('bench_{number}', schedule=None):\n    pass\n" if dag else ""
        text += f"# {noise.randbytes(SIZE // 2 - 100).hex()}\n"
        (package / f"module_{number:04}.py").write_text(text)
    (place / "version.py").write_text(f"VERSION = '{version}'\n")


def run(name: str, *words: str, seconds: float | None = None) -> float:
    """Seconds of one ansible-playbook, which has to succeed.

    Raises:
        subprocess.TimeoutExpired: it was stopped after ``seconds``.
    """
    began = time.monotonic()
    environ = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LAB": name}
    environ["PATH"] = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(INVENTORY), *words]
    with tempfile.TemporaryFile("w+") as told:
        # Its workers have to end with it, so it leads a group of its own.
        with subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=told, stderr=subprocess.STDOUT, start_new_session=True
        ) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            told.seek(0)
            sys.exit(f"{' '.join(words)} failed:\n{told.read()[-6000:]}")
    return time.monotonic() - began


def extra(**variables: object) -> tuple[str, str]:
    """Words that set variables."""
    return "--extra-vars", json.dumps(variables)


def on_publisher(name: str, command: str) -> str:
    """What a command says on the host that writes to the share."""
    facts = json.loads(subprocess.run([str(LAB), "--name", name, "facts"], capture_output=True, check=True).stdout)
    words = ["ssh", "-F", facts["ssh_config"], "swarm1", command.format(**facts)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def give_rsync(name: str) -> None:
    """What synchronize needs on both sides; the lab's hosts reach packages through its proxy."""
    if not shutil.which("rsync"):
        sys.exit("synchronize needs rsync on this machine: apt-get install rsync")
    on_publisher(name, "http_proxy={proxy} apt-get install -y -qq rsync")


def measure(name: str, work: Path) -> list[tuple[t.Any, ...]]:
    """What, seconds for all files, and seconds for one changed file, where that was measured."""
    rows = []

    def add(label: str, *times: float) -> None:
        rows.append((label, *times))
        print(f"{label:<44}" + "".join(f"{seconds:>12.1f} s" for seconds in times), flush=True)

    print(f"{'':<44}{'all files':>14}{'one changed':>14}", flush=True)

    def ours(label: str, *versions: str, check: bool) -> None:
        times = []
        for version in versions:
            tree(work / "tree", version)
            if check:  # other content than without the check, and the same in both of these
                for path in (work / "tree").rglob("module_*.py"):
                    path.write_text(path.read_text() + "# again\n")
            variables = {
                "dag_release_action": "publish",
                "dag_release_bundle": "sales",
                "dag_release_source": str(work / "tree"),
                "dag_release_check": check,
            }
            times.append(run(name, "playbooks/dags.yml", *extra(**variables)))
        add(label, *times)

    peers = work / "peers.yml"
    peers.write_text(PEERS)

    def peer(way: str, version: str, target: str, **limit: float) -> float:
        tree(work / "tree", version)
        variables = {"tree": str(work / "tree"), "target": f"{SHARE}/{target}", "peer": way, "version": version}
        return run(name, str(peers), *extra(**variables), **limit)

    ours("dag_release, files and proof", "one", "two", check=False)
    add("ansible.posix.synchronize", *(peer("synchronize", version, "bench_synchronize") for version in ("one", "two")))
    try:
        add("ansible.builtin.copy", peer("copy", "one", "bench_copy", seconds=COPY_SECONDS))
    except subprocess.TimeoutExpired:
        arrived = len(on_publisher(name, f"find {SHARE}/bench_copy -type f").split())
        print(f"copy was stopped after {COPY_SECONDS} s, with {arrived} of {FILES} files there")
        add("ansible.builtin.copy, at that pace", COPY_SECONDS * FILES / max(1, arrived))
    ours("dag_release, with the check in the image", "three", "four", check=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", default="", help="name of a lab with the platform on it")
    name = parser.parse_args().lab
    own = not name
    name = name or "release"
    try:
        if own:
            subprocess.run([str(LAB), "--name", name, "up"], check=True)
            run(name, "site.yml")
        give_rsync(name)
        with tempfile.TemporaryDirectory() as work:
            rows = measure(name, Path(work))
    finally:
        if own:
            subprocess.run([str(LAB), "--name", name, "down"], check=False)
    print(
        f"{FILES} files, {FILES * SIZE / 1024**2:.0f} MiB, three nodes over NFS; from the command to every node sees it"
    )
    ours, synchronize, copy, _checked = rows
    print(f"all files: {copy[1] / ours[1]:.1f} times faster than copy (goal: 20), {synchronize[1] / ours[1]:.2f} times")
    print(f"the speed of synchronize (goal: 1 or more); one file: {synchronize[2] / ours[2]:.2f} times")


if __name__ == "__main__":
    main()
