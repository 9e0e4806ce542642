"""Hosts that `ray up` reaches by ssh, and a launcher: namespaces of this machine.

Each has its own network, processes, mounts, name, shared memory and temporary folder, so `ray stop`
on one host reaches no other. All end with the process that made them. All see the files under
:attr:`Hosts.shared` at the same path.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.helpers.clone import CLONE

NETWORK = "10.77.0"
LAUNCHER = f"{NETWORK}.1"
PROGRAMS = {"ip": "iproute2", "sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync"}
# Private folders of a host, mounted from its own folder, which the last one may hide. KEPT stays
# visible below them.
PRIVATE = ("/root", "/run", "/tmp")
KEPT = (sys.base_prefix, sys.prefix, str(CLONE))

BOOT = """
set -e
for folder in {private}; do
  mkdir -p {own}$folder
  for kept in {kept}; do
    case $kept in $folder/*) mkdir -p {own}$kept; mount --rbind $kept {own}$kept;; esac
  done
done
for folder in {private}; do mount --rbind {own}$folder $folder; done
mount -t tmpfs tmpfs /dev/shm
mount --bind /root/hosts /etc/hosts
hostname {name}
ip link set lo up
{rest}
"""
HOST = """
until ip link show eth0 > /dev/null 2>&1; do sleep 0.05; done
ip address add {address}/24 dev eth0
ip link set eth0 up
mkdir -p /run/sshd
exec {sshd} -D -e -f /root/sshd_config
"""
SSHD = """
ListenAddress {address}
HostKey /root/host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
PidFile none
"""
# Ray contacts no machine outside and starts no process early; a worker without its head gives up in
# seconds, not in a minute.
ENVIRONMENT = """
export PATH={path}:$PATH RAY_USAGE_STATS_ENABLED=0 RAY_prestart_worker_first_driver=0
export RAY_gcs_rpc_server_reconnect_timeout_s=5
"""


def missing() -> list[str]:
    """Return the programs and rights that this machine lacks to make hosts."""
    lacking = [f"{name} ({package})" for name, package in PROGRAMS.items() if not which(name)]
    if os.geteuid():
        lacking.append("root")
    return lacking


def which(name: str) -> str | None:
    """Return the path of a program, also in the administrator's folders."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Machine:
    """Set of namespaces by their first process, with the address of their machine."""

    first: int
    address: str

    def command(self, *words: str) -> list[str]:
        """Return the command that runs ``words`` there, as root and in the clone."""
        inside = 'source /root/.bashrc; cd "$0"; exec "$@"'
        enter = ["nsenter", f"--target={self.first}", "--net", "--pid", "--mount", "--uts", "--ipc"]
        # Variables of this process, such as the path of its token for Ray, stay outside.
        own = ["env", "--ignore-environment", "HOME=/root", f"PATH={os.environ['PATH']}"]
        return [*enter, *own, "bash", "-c", inside, str(CLONE), *words]

    def processes(self) -> dict[str, psutil.Process]:
        """Return the live processes by command line, without the first one."""
        space = os.readlink(f"/proc/{self.first}/ns/pid")
        found = {}
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                if os.readlink(f"/proc/{process.pid}/ns/pid") == space:
                    found[line] = process
            except (OSError, psutil.Error):
                continue
        return {line: it for line, it in found.items() if line and it.pid != self.first}


@dataclass(frozen=True)
class Hosts:
    """The launcher, the hosts, their shared folder and their ssh key."""

    launcher: Machine
    hosts: tuple[Machine, ...]
    shared: Path
    key: Path

    def run(self, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on the launcher to its end, with both streams in stdout."""
        return subprocess.run(
            self.launcher.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command on the launcher and return at once."""
        return subprocess.Popen(self.launcher.command(*words), stdin=subprocess.DEVNULL)


@contextmanager
def made(count: int, folder: Path) -> Iterator[Hosts]:
    """Make a launcher and ``count`` hosts, with addresses from ``NETWORK``.10, below ``folder``."""
    shared, key = folder / "shared", folder / "key"
    shared.mkdir()
    new_key(key)
    names = {LAUNCHER: "launcher"} | {f"{NETWORK}.{10 + i}": f"host{i}" for i in range(count)}
    with ExitStack() as running:
        machines = []
        for address, name in names.items():
            own = folder / name
            prepare(own / "root", names, address, key)
            rest = "exec sleep infinity"
            if name != "launcher":
                rest = HOST.format(address=address, sshd=which("sshd"))
            machines.append(Machine(booted(own, name, rest, shared, running), address))
        launcher, *hosts = machines
        connect(launcher, hosts)
        for host in hosts:
            wait_for_ssh(launcher, host)
        yield Hosts(launcher, tuple(hosts), shared, Path("/root/.ssh/key"))


def new_key(path: Path) -> None:
    """Make a pair of ssh keys without a passphrase."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True)


def prepare(home: Path, names: dict[str, str], address: str, key: Path) -> None:
    """Write root's home of one machine: keys, shell environment, host names."""
    ssh = home / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    shutil.copy(key.with_suffix(".pub"), ssh / "authorized_keys")
    shutil.copy(key, ssh / "key")
    environment = ENVIRONMENT.format(path=Path(sys.executable).parent)
    for name in (".bashrc", ".profile"):
        (home / name).write_text(environment)
    new_key(home / "host_key")
    (home / "sshd_config").write_text(SSHD.format(address=address))
    lines = ["127.0.0.1 localhost", *(f"{place} {name}" for place, name in names.items())]
    (home / "hosts").write_text("\n".join(lines) + "\n")
    # The environment of the tests replaces the one that the set-up would make.
    (home / "longwave").mkdir()
    (home / "longwave" / ".venv").symlink_to(sys.prefix)


def booted(own: Path, name: str, rest: str, shared: Path, running: ExitStack) -> int:
    """Start a machine and return the id of its first process."""
    boot = BOOT.format(
        own=own,
        name=name,
        rest=rest,
        private=" ".join(PRIVATE),
        kept=" ".join(dict.fromkeys([*KEPT, str(shared)])),
    )
    # --kill-child ends the machine with the process outside it, pdeathsig that process with ours.
    words = ["setpriv", "--pdeathsig=KILL", "unshare", "--net", "--pid", "--fork", "--kill-child"]
    words += ["--mount", "--mount-proc", "--uts", "--ipc", "bash", "-c", boot]
    log = running.enter_context((own / "log").open("wb"))
    outside = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running.callback(outside.wait)
    running.callback(outside.kill)
    while outside.poll() is None:
        for inside in psutil.Process(outside.pid).children():
            return inside.pid
        time.sleep(0.01)
    raise RuntimeError(f"{name} did not start: {(own / 'log').read_text()}")


def connect(launcher: Machine, hosts: list[Machine]) -> None:
    """Make a bridge on the launcher with a cable to every host."""
    ip = [which("ip")]
    there = ["nsenter", f"--target={launcher.first}", "--net", *ip]
    lines = [[*there, *line.split()] for line in BRIDGE]
    for number, host in enumerate(hosts):
        cable = f"link add cable{number} type veth peer name eth0 netns {host.first}"
        lines.append([*there, *cable.split()])
        lines.append([*there, *f"link set cable{number} master bridge up".split()])
    for line in lines:
        subprocess.run(line, check=True)


BRIDGE = (
    "link add bridge type bridge",
    f"address add {LAUNCHER}/24 dev bridge",
    "link set bridge up",
)


def wait_for_ssh(launcher: Machine, host: Machine) -> None:
    """Wait until the host answers at its ssh port."""
    probe = f"until (: > /dev/tcp/{host.address}/22) 2> /dev/null; do sleep 0.05; done"
    subprocess.run(launcher.command("timeout", "20", "bash", "-c", probe), check=True)
