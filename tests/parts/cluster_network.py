"""The network of the one-node cluster: an address that host and pods share, and how all of it is taken away again."""

import subprocess
from contextlib import suppress
from pathlib import Path

NODE_ADDRESS = "10.240.0.1"
"""The node's own address, on a bridge of its own: fixed, so there is one cluster a machine."""

SERVICE_ADDRESSES, POD_ADDRESSES = "10.96.0.0/16", "10.244.0.0/16"
"""As the control plane gives them out."""

DNS_ADDRESS, API_ADDRESS = "10.96.0.10", "10.96.0.1"
"""The Services of names and of the API."""

NODE_LINK, POD_LINK = "tfnode0", "tfpods0"
"""The bridges."""

COMMAND_SECONDS_MAX = 30

_MASQUERADE = ("POSTROUTING", "-s", POD_ADDRESSES, "!", "-d", POD_ADDRESSES, "-j", "MASQUERADE")
"""Not the plugin's own, which leaves rules behind."""


def run(*words: str) -> None:
    """Run a command.

    Raises:
        CalledProcessError: It failed.
    """
    subprocess.run(words, check=True, capture_output=True, timeout=COMMAND_SECONDS_MAX)


def tried(*words: str) -> bool:
    """Run a command that may fail; tell whether it didn't."""
    with suppress(subprocess.CalledProcessError, FileNotFoundError):
        run(*words)
        return True
    return False


def bring_up() -> None:
    """Make the node's address, and let packets pass."""
    if not tried("ip", "link", "show", NODE_LINK):
        run("ip", "link", "add", NODE_LINK, "type", "bridge")
        run("ip", "addr", "add", f"{NODE_ADDRESS}/32", "dev", NODE_LINK)
        run("ip", "link", "set", NODE_LINK, "up")
    # Service addresses never leave the machine, even before the proxy runs.
    run("ip", "route", "replace", SERVICE_ADDRESSES, "dev", NODE_LINK, "src", NODE_ADDRESS)
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    tried("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    run("iptables", "-P", "FORWARD", "ACCEPT")  # a Docker daemon sets it to DROP
    if not tried("iptables", "-t", "nat", "-C", *_MASQUERADE):
        run("iptables", "-t", "nat", "-A", *_MASQUERADE)


def take_down(folder: Path) -> None:
    """Remove what the cluster of a folder left in the kernel: mounts, rules, links, control groups."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted(set(mounts), reverse=True):
        if mount.startswith((str(folder), "/run/netns/cni-")):
            tried("umount", "-l", mount)
    for namespace in Path("/run/netns").glob("cni-*"):
        namespace.unlink(missing_ok=True)
    for family in ("ip", "ip6"):
        tried("nft", "delete", "table", family, "kube-proxy")
    tried("iptables", "-t", "nat", "-D", *_MASQUERADE)
    for link in (POD_LINK, NODE_LINK):
        tried("ip", "link", "del", link)
    groups = [path for group in Path("/sys/fs/cgroup").glob("**/kubepods") for path in group.glob("**/")]
    for path in sorted(groups, reverse=True):
        with suppress(OSError):
            path.rmdir()
