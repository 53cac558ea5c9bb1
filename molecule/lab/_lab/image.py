"""The disk that all guests start from: a small Debian with systemd and ssh, cached by what it is made of.

Nothing in it belongs to one host or one lab: names, addresses and keys come with the kernel's command line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from .run import run, say
from .settings import LabError

SUITE = "trixie"
SIZE_GIB = 16
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: What a minimal server installation has; everything else is for the roles to bring.
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "kmod",
    "iproute2",
    "iptables",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "ca-certificates",
    "procps",
    "netbase",
)
FILES = {
    # A guest that loses power in the middle of an installation gets a new disk.
    "etc/dpkg/dpkg.cfg.d/lab": "force-unsafe-io\n",
    "etc/fstab": "/dev/ubda / ext4 defaults,noatime 0 1\n",
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    # Each host makes its own key when it starts for the first time; one kind is enough and quick.
    "etc/ssh/sshd_config.d/lab.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nMaxStartups 50\n",
    "etc/systemd/system/ssh.service.d/lab.conf": (
        "[Service]\nExecStartPre=\nExecStartPre=/bin/sh -c 'test -s /etc/ssh/ssh_host_ed25519_key || "
        'ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key\'\nExecStartPre=/usr/sbin/sshd -t\n'
    ),
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n",
}
_COMMANDS = (
    "systemctl enable systemd-networkd.service ssh.service",
    "systemctl mask getty@.service serial-getty@.service console-getty.service systemd-networkd-wait-online.service "
    "apt-daily.timer apt-daily-upgrade.timer systemd-timesyncd.service fstrim.timer e2scrub_all.timer",
    # Programs that look for units elsewhere at each of the many reloads of an installation, and find none here.
    "mkdir /etc/systemd/system-generators; cd /etc/systemd/system-generators; for name in debug getty gpt-auto "
    "hibernate-resume rc-local run ssh system-update sysv tpm2; do ln -s /dev/null systemd-$name-generator; done",
    "passwd --lock root",
    "rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /etc/resolv.conf",
    ": > /etc/machine-id",
    "rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*",
)


def find(cache: Path) -> Path:
    """The base image, built first if this content was never built here.

    Raises:
        LabError: it cannot be built.
    """
    mirror = _mirror()
    recipe = [SUITE, SIZE_GIB, PACKAGES, FILES, _COMMANDS, mirror]
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    target = cache / "images" / f"{SUITE}-{digest}.ext4"
    if not target.exists():
        _build(target, mirror)
    return target


def _mirror() -> str:
    """Where this machine's own apt gets Debian from, unless FLOWSTEAD_LAB_MIRROR names another mirror.

    Raises:
        LabError: nobody names one.
    """
    given = os.environ.get("FLOWSTEAD_LAB_MIRROR", "")
    listed = run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)")
    uris = [uri for uri in re.findall(r"^Debian\|(\S+)$", listed, re.MULTILINE) if "security" not in uri]
    if not (given or uris):
        raise LabError(
            "apt on this machine has no Debian source with package lists. "
            "Name a mirror of Debian: FLOWSTEAD_LAB_MIRROR=http://mirror.example.com/debian"
        )
    return given or uris[0]


def _build(target: Path, mirror: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    say("building the base image (one or two minutes, once)")
    with tempfile.TemporaryDirectory(prefix="flowstead-image.", dir=target.parent) as name:
        root = Path(name, "root")
        hooks = [f"--customize-hook=chroot \"$1\" sh -c '{command}'" for command in _COMMANDS]
        run(
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            '--aptopt=Acquire::Languages "none"',
            "--dpkgopt=force-unsafe-io",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            *hooks,
            SUITE,
            root,
            f"deb [signed-by={KEYRING}] {mirror} {SUITE} main",
            f"deb [signed-by={KEYRING}] {mirror} {SUITE}-updates main",
            timeout=1200,
        )
        for path, content in FILES.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content, encoding="utf-8")
        disk = Path(name, "disk.ext4")
        # Fixed UUIDs and times are not needed: the image is named by its recipe, not by its bytes.
        run("mkfs.ext4", "-q", "-L", "lab", "-E", "lazy_itable_init=1", "-d", root, disk, f"{SIZE_GIB}G", timeout=600)
        shutil.rmtree(root)
        disk.rename(target)
