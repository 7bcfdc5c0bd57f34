"""A network namespace of our own, in which 169.254.169.254 is ours: no packet of it leaves this machine, or reaches it."""

import ctypes
import os
import pathlib
import shutil
import socket
import subprocess

ADDRESS = "169.254.169.254"
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
# A kernel that has tunnels built in puts these, which are down, into every namespace.
FALLBACK_TUNNELS = {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}


class Impossible(Exception):
    """This machine does not let us; says why."""


def what_is_missing():
    """Tried by a child, which leaves this process as it is."""
    if not shutil.which("ip"):
        return "ip is not on the path: install iproute2"
    child = os.fork()
    if child == 0:
        try:
            enter()
        except Exception as error:  # whatever it is, this child may not go on
            print(f"tests/imds: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    return None if os.waitpid(child, 0)[1] == 0 else "network namespaces cannot be made here"


def enter():
    """This thread, and all that it starts, into a new namespace with nothing but `lo`, which has the address.

    Without root a user namespace comes with it, for which no other thread may be running.
    """
    root = os.geteuid() == 0
    us, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | (0 if root else CLONE_NEWUSER)) != 0:
        raise Impossible(f"unshare: {os.strerror(ctypes.get_errno())}")
    if not root:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {us} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    for command in ("link set lo up", f"address add {ADDRESS}/32 dev lo scope link"):
        done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
        if done.returncode != 0:
            raise Impossible(f"ip {command}: {done.stderr.strip()}")
    interfaces = {name for _, name in socket.if_nameindex()} - FALLBACK_TUNNELS
    if interfaces != {"lo"}:
        raise Impossible(f"not alone in the namespace: {', '.join(sorted(interfaces))}")
