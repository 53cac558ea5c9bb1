"""The kernel of the guests: Linux for User Mode Linux, prebuilt where there is one, else built and cached.

Why not Debian's user-mode-linux packages: see README.md beside this package.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import tempfile
from pathlib import Path

from .run import missing_tools, run, say
from .settings import HERE, ROOT, LabError

SOURCE_PACKAGE = "linux-source-7.2"
#: Suites that carry the source, in order of preference.
SOURCE_SUITES = ("trixie-backports", "sid")
_BUILD_TOOLS = {
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "patch": "patch",
    "xz": "xz-utils",
}
_BUILD_HEADERS = {"/usr/include/libelf.h": "libelf-dev", "/usr/include/openssl/ssl.h": "libssl-dev"}
_INPUTS = (HERE / "kernel" / "config.fragment", HERE / "kernel" / "uml-irq-reentry.patch")


def find(cache: Path, given: str = "") -> Path:
    """An executable kernel.

    Args:
        cache: where kernels are kept.
        given: a kernel of one's own, plain or compressed by xz; default is the environment's
            ``FLOWSTEAD_LAB_KERNEL``, then a prebuilt one in ``shared/lab`` beside or above the checkout,
            then one that was built before.

    Raises:
        LabError: nothing is there, and none can be built.
    """
    if os.uname().machine != "x86_64":
        raise LabError(f"the lab runs on x86_64 only; this machine is {os.uname().machine}")
    named = given or os.environ.get("FLOWSTEAD_LAB_KERNEL", "")
    if named and not Path(named).is_file():
        raise LabError(f"the kernel {named} is no file")
    candidates = [Path(named)] if named else _prebuilt()
    if candidates:
        return _unpack(candidates[0], cache)
    return _built(cache) if _built(cache).exists() else build(_built(cache))


def packages(cache: Path) -> set[str]:
    """Debian packages that finding a kernel needs here and that this machine lacks."""
    if os.environ.get("FLOWSTEAD_LAB_KERNEL") or _prebuilt() or _built(cache).exists():
        return set()
    lacking = {_BUILD_TOOLS[tool] for tool in missing_tools(_BUILD_TOOLS)}
    return lacking | {package for header, package in _BUILD_HEADERS.items() if not Path(header).exists()}


def _built(cache: Path) -> Path:
    return cache / "kernels" / f"linux-{_digest(*_INPUTS)}-{SOURCE_PACKAGE}"


def _prebuilt() -> list[Path]:
    return [
        path
        for parent in ROOT.parents
        for path in sorted((parent / "shared" / "lab").glob("linux-uml-*-x86_64.xz"), reverse=True)
    ]


def _digest(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def _unpack(source: Path, cache: Path) -> Path:
    """The kernel itself, in the cache under a name made from its content."""
    target = cache / "kernels" / f"linux-{_digest(source)}"
    if not target.exists():
        say(f"unpacking the kernel {source.name}")
        data = source.read_bytes()
        _place(target, lzma.decompress(data) if source.suffix == ".xz" else data)
    return target


def _place(target: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also when two labs do it at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as handle:
        handle.write(data)
    Path(handle.name).chmod(0o755)
    Path(handle.name).rename(target)


def build(target: Path) -> Path:
    """Build the kernel from Debian's source.

    Raises:
        LabError: a tool is missing, the source cannot be had, or the build failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="flowstead-kernel.", dir=target.parent) as name:
        work = Path(name)
        say(f"fetching {SOURCE_PACKAGE} (about 150 MB)")
        tree = _source(work)
        run("patch", "-p1", "-i", HERE / "kernel" / "uml-irq-reentry.patch", cwd=tree)
        say("building the kernel (about 8 minutes on two cores, once)")
        run("make", "ARCH=um", "defconfig", cwd=tree)
        with (tree / ".config").open("a", encoding="ascii") as config:
            config.write((HERE / "kernel" / "config.fragment").read_text(encoding="ascii"))
        run("make", "ARCH=um", "olddefconfig", cwd=tree)
        run("make", "ARCH=um", f"-j{os.cpu_count() or 1}", "linux", cwd=tree, timeout=5400)
        run("strip", "--strip-debug", tree / "linux")
        _place(target, (tree / "linux").read_bytes())
    return target


def _source(work: Path) -> Path:
    """Download and unpack the kernel's source with apt, from the mirror that this machine uses, but another suite."""
    uris = re.findall(r"^Debian\|([^|\s]+)$", run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)"), re.M)
    main = next((uri for uri in uris if "security" not in uri), "")
    if not main:
        raise LabError(
            "apt on this machine has no Debian source with package lists to take the kernel's source from. "
            "Give a kernel instead: FLOWSTEAD_LAB_KERNEL=/path/to/linux"
        )
    said = ""
    for suite in SOURCE_SUITES:
        area = work / suite
        (area / "lists" / "partial").mkdir(parents=True)
        (area / "archives" / "partial").mkdir(parents=True)
        (area / "sources").write_text(
            f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {main} {suite} main\n", encoding="ascii"
        )
        options = [
            f"-oDir::Etc::SourceList={area / 'sources'}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={area / 'lists'}",
            f"-oDir::Cache::Archives={area / 'archives'}",
            f"-oDir::Cache::pkgcache={area / 'pkgcache.bin'}",
            f"-oDir::Cache::srcpkgcache={area / 'srcpkgcache.bin'}",
            "-oAPT::Sandbox::User=root",
        ]
        try:
            run("apt-get", *options, "-q", "update")
            run("apt-get", *options, "-q", "download", SOURCE_PACKAGE, cwd=area, timeout=1800)
        except LabError as error:
            said += f"\n{suite}: {error}"
            continue
        (package,) = area.glob("*.deb")
        run("dpkg-deb", "-x", package, area / "unpacked")
        (archive,) = (area / "unpacked" / "usr" / "src").glob("linux-source-*.tar.xz")
        run("tar", "-xJf", archive, "-C", work)
        shutil.rmtree(area)
        return next(path for path in work.iterdir() if path.name.startswith("linux-source-"))
    raise LabError(f"the kernel's source package {SOURCE_PACKAGE} cannot be had:{said}")
