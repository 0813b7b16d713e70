# SPDX-License-Identifier: MIT
"""Two hosts joined by a veth pair, as tests/support/netns.h has them, for servers of other people and a client over
AF_XDP. The namespaces have no name: they go away with the last descriptor and process in them, and the servers'
processes with this one, however it ends."""
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import unittest

import support

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
HERE = {4: "10.77.0.1", 6: "fd77::1"}
THERE = {4: "10.77.0.2", 6: "fd77::2"}
libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def unavailable():
    """What is missing for a client over AF_XDP between namespaces; None: nothing."""
    if "-lbpf" not in support.cases.libraries(support.BUILD):
        return "the library is built without XDP"
    if os.geteuid() != 0:
        return "network namespaces with veth, and AF_XDP, need root"
    veth = subprocess.run(["unshare", "-n", "ip", "link", "add", "netnsa", "type", "veth", "peer", "name", "netnsb"],
                          capture_output=True, text=True)
    return veth.stderr.strip() or None


def main():
    """As support.main, where all of it can be had."""
    reason = unavailable()
    if reason is None:
        support.main()
    print(f"SKIP {os.path.basename(sys.argv[0])}: {reason}\n0 passed, 0 failed, 1 skipped")


def shell(command, enter=None):
    run = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, preexec_fn=enter)
    if run.returncode != 0:
        raise AssertionError(f"{command}: {run.stdout}{run.stderr}")


class Veth:
    """`here` with xdp0, where this process is from now on, and `there` with peer0. peer_offload: what the peer sends
    has no checksums, which is left to a NIC that is not there."""
    vlan = None

    def __init__(self, peer_offload=False):
        self.there, self.here = self.namespace(), self.namespace()
        shell(f"ip link add xdp0 type veth peer name peer0 netns /proc/{os.getpid()}/fd/{self.there}")
        self.set_up("xdp0", HERE, None)
        self.set_up("peer0", THERE, self.enter_there, "" if peer_offload else "tx off")

    @staticmethod
    def namespace():
        must(libc.unshare(CLONE_NEWNET), "unshare")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @staticmethod
    def set_up(device, addresses, enter, offloads=""):
        # Link-local addresses are usable at once, too: neighbours are asked from them.
        shell(f"ip link set lo up && echo 0 > /proc/sys/net/ipv6/conf/{device}/accept_dad && ip link set {device} up && "
              f"ip addr add {addresses[4]}/24 dev {device} && ip addr add {addresses[6]}/64 dev {device} nodad && "
              f"ethtool -K {device} txvlan off rxvlan off {offloads}", enter)

    def enter_there(self):
        must(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
        must(libc.setns(self.there, CLONE_NEWNET), "setns")

    def close(self):
        """The process stays in `here`, which is gone with it or when it goes elsewhere."""
        os.close(self.there)
        os.close(self.here)


class Trunk(Veth):
    """The same two hosts, with a switch in between: what `here` sends and receives carries a tag (IEEE 802.1Q), and
    `there` sees none."""
    vlan = 7

    def __init__(self):
        self.switch = subprocess.Popen([os.path.join(support.BUILD, "tests/interop/trunk_server"), str(self.vlan)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.switch.stdout.readline().split()
        if len(words) != 3:
            raise AssertionError("the trunk did not start")
        pid, *places = words
        self.here, self.there = (os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC) for fd in places)
        must(libc.setns(self.here, CLONE_NEWNET), "setns")

    def close(self):
        super().close()
        self.switch.stdin.close()
        self.switch.wait()
        self.switch.stdout.close()


def over_xdp(veth, mode):
    """The client's options."""
    tagged = [f"xdp.vlan={veth.vlan}"] if veth.vlan is not None else []
    return ("transport=xdp", f"xdp.mode={mode}", *tagged)


class There(support.Place):
    """The other host, by its address of this IP version."""

    def __init__(self, veth, version):
        self.veth, self.address, self.enter = veth, THERE[version], veth.enter_there

    @contextlib.contextmanager
    def inside(self):
        must(libc.setns(self.veth.there, CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            must(libc.setns(self.veth.here, CLONE_NEWNET), "setns")


class OverXdp(unittest.TestCase):
    """Comes in front of a Matrix: its servers are on the other host, and the client gets to them over AF_XDP."""
    version, mode, network = 4, "driver", Veth

    @classmethod
    def setUpClass(cls):
        cls.veth = cls.network()
        cls.addClassCleanup(cls.veth.close)
        cls.place = There(cls.veth, cls.version)
        cls.options = (*cls.options, *over_xdp(cls.veth, cls.mode))
        super().setUpClass()

    def run_with(self, *commands, **more):
        said = super().run_with(*commands, "info:transport", "info:mode", **more)
        self.assertIn("transport=xdp\n", said)
        self.assertIn(f"mode={self.mode}\n", said)
        return said


class Driver4(OverXdp):
    pass


class Driver6(OverXdp):
    version = 6


class Generic4(OverXdp):
    mode = "generic"


class Generic6(OverXdp):
    version, mode = 6, "generic"
