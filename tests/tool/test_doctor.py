# SPDX-License-Identifier: MIT
"""`wsxdp doctor` in network namespaces with veth pairs: the verdict for each thing that can be made good or bad
there, the exit status that follows, the same findings in both forms, and nothing changed by any of it."""
import contextlib
import json
import os
import pwd
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import support

COMMAND = os.path.abspath(support.WSXDP)
CLANG = os.environ.get("CLANG") or "clang"
OTHER_PROGRAM = b"""
__attribute__((section("xdp"), used)) int somebody_elses(void *context) { return 2; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""
VERDICTS = ("ok", "warn", "fail", "unknown")
SECTIONS_ELSEWHERE = ("sockets", "io_uring", "processes")  # of the other transports, of a placement
HELPER = "/usr/local/libexec/wsxdp-stage"


class Namespace:
    """A network namespace without a name. It ends with a process that ends with our pipe to it, however we end."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.path = f"/proc/{self.holder.pid}/ns/net"
        ours = os.readlink("/proc/self/ns/net")
        support.wait_until(lambda: os.readlink(self.path) != ours)

    def run(self, *command, **options):
        return subprocess.run(
            ["nsenter", "--net=" + self.path, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=support.LIMIT_S,
            **options,
        )

    def ip(self, line):
        run = self.run("ip", *line.split())
        if run.returncode != 0:
            raise AssertionError(f"ip {line}: {run.stderr}")
        return run.stdout

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(support.LIMIT_S)


@contextlib.contextmanager
def namespace():
    space = Namespace()
    try:
        space.ip("link set dev lo up")
        yield space
    finally:
        space.close()


@contextlib.contextmanager
def veth(queues=1, mtu=1500, up=True):
    """`here`, a namespace with xdp0 and 10.77.0.1; `there` with peer0 and .2."""
    with namespace() as here, namespace() as there:
        here.ip(
            f"link add xdp0 mtu {mtu} numrxqueues {queues} numtxqueues {queues} type veth peer name peer0 "
            f"mtu {mtu} numrxqueues {queues} numtxqueues {queues} netns {there.holder.pid}"
        )
        if up:
            here.ip("addr add 10.77.0.1/24 dev xdp0")
            there.ip("addr add 10.77.0.2/24 dev peer0")
            there.ip("link set dev peer0 up")
            here.ip("link set dev xdp0 up")
            # The kernel tells of a carrier a moment later than it has one.
            support.wait_until(lambda: "state UP" in here.ip("link show dev xdp0"))
        yield here, there


@contextlib.contextmanager
def xdp_program():
    """An object file with an XDP program that is not the library's."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "other.o")
        subprocess.run(
            [CLANG, "-target", "bpf", "-O2", "-x", "c", "-c", "-", "-o", path], input=OTHER_PROGRAM, check=True
        )
        yield path


@contextlib.contextmanager
def copy_for_anybody():
    """The command where every user may run it, which the build directory need not be."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield shutil.copy(COMMAND, directory)


class Diagnosis:
    """One run with --json."""

    def __init__(self, space, *arguments, prefix=(), **options):
        self.run = space.run(*prefix, COMMAND, "doctor", "--json", *arguments, **options)
        self.code = self.run.returncode
        if self.run.stderr or not self.run.stdout:
            raise AssertionError(f"status {self.code}: {self.run.stderr!r}")
        self.document = json.loads(self.run.stdout)
        self.findings = {finding["id"]: finding for finding in self.document["findings"]}

    def verdict(self, name):
        return self.findings[name]["verdict"]

    def fact(self, name):
        return self.findings[name]["fact"]

    def failing(self):
        return [f["id"] for f in self.document["findings"] if f["verdict"] == "fail"]


def words(text):
    return " ".join(text.split())


def without(*capabilities):
    """The start of a command line that takes capabilities away, from root too."""
    drop = ",".join("-" + name for name in capabilities)
    return ("setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}")


class Shape(unittest.TestCase):
    """What both forms must be, whatever is found."""

    def test_rows_are_complete_and_ids_unique(self):
        with veth() as (here, _):
            told = Diagnosis(here, "--interface", "xdp0").document
        ids = [finding["id"] for finding in told["findings"]]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertGreater(len(ids), 35)
        self.assertEqual(told["interface"], "xdp0")
        for finding in told["findings"]:
            with self.subTest(id=finding["id"]):
                self.assertEqual(
                    list(finding), ["id", "section", "verdict", "fact", "reason", "remedy"]
                )
                self.assertIn(finding["verdict"], VERDICTS)
                self.assertEqual(finding["section"], finding["id"].split(".")[0])
                self.assertTrue(finding["fact"] and finding["reason"])
                if finding["verdict"] == "fail":
                    self.assertTrue(finding["remedy"])
        sections = {finding["section"] for finding in told["findings"]}
        self.assertEqual(
            sections,
            {"build", "kernel", "process", "interface", "queues", "offloads", "timing", "machine"}
            | set(SECTIONS_ELSEWHERE),
        )

    def test_text_says_the_same(self):
        with veth(mtu=9000, queues=2) as (here, _):
            told = Diagnosis(here, "--interface", "xdp0")
            run = here.run(COMMAND, "doctor", "--interface", "xdp0")
        self.assertEqual(run.returncode, told.code)
        self.assertNotIn("\033", run.stdout)  # in a pipe
        rows = re.findall(r"^  (ok|warn|fail|unknown) +(\S.*)$", run.stdout, re.M)
        self.assertEqual([row[0] for row in rows], [f["verdict"] for f in told.document["findings"]])
        text, at = words(run.stdout), 0
        for finding in told.document["findings"]:
            for key in ("fact", "reason", "remedy"):
                self.assertIn(words(finding[key]), text)
            at = text.index(f"{finding['verdict']} {words(finding['fact'])}", at)  # in the same order
            if finding["remedy"]:
                self.assertIn(f"do: {finding['remedy']}\n", run.stdout)
        for line in run.stdout.splitlines():
            if "do: " not in line:
                self.assertLessEqual(len(line), 100)
        self.assertRegex(run.stdout, r"\n\ntransport=xdp can run on xdp0: \d+ warnings, \d+ unknown\n\Z")

    def test_colour_only_on_a_terminal(self):
        terminal = support.Terminal("doctor", "--interface", "lo")
        try:
            self.assertIn("\033[1;31mfail\033[0m", terminal.read_until())
        finally:
            terminal.close()

    def test_the_verdict_of_all_is_that_of_the_worst(self):
        with veth(mtu=9000) as (here, _):
            for arguments in (("--interface", "xdp0"), ("--interface", "lo")):
                told = Diagnosis(here, *arguments)
                own = [f["verdict"] for f in told.document["findings"] if f["section"] not in SECTIONS_ELSEWHERE]
                worst = [v for v in ("fail", "warn", "unknown", "ok") if v in own][0]
                self.assertEqual(told.document["verdict"], worst)
                self.assertEqual(told.document["possible"], worst != "fail")
                self.assertEqual(told.code, 1 if worst == "fail" else 0)

    def test_a_full_disk_is_status_9(self):
        with veth() as (here, _), open("/dev/full", "wb") as full:
            run = subprocess.run(
                ["nsenter", "--net=" + here.path, COMMAND, "doctor"], stdout=full, check=False, timeout=20
            )
        self.assertEqual(run.returncode, 9)


class Interfaces(unittest.TestCase):
    def test_veth_has_driver_mode_and_no_zero_copy(self):
        with veth() as (here, _):
            told = Diagnosis(here, "--interface", "xdp0")
        self.assertEqual(told.failing(), [])
        self.assertEqual(told.code, 0)
        self.assertIn("driver veth", told.fact("interface.kind"))
        self.assertEqual(told.verdict("interface.link"), "ok")
        self.assertEqual(told.verdict("interface.driver_mode"), "ok")
        self.assertEqual(told.verdict("interface.zero_copy"), "warn")
        self.assertEqual(told.verdict("interface.mtu"), "ok")
        self.assertEqual(told.verdict("interface.mode"), "ok")
        self.assertIn("driver mode", told.fact("interface.mode"))
        self.assertEqual(told.verdict("interface.program"), "ok")
        self.assertEqual(told.verdict("queues.receive"), "ok")
        self.assertIn("one receive queue", told.fact("queues.receive"))
        self.assertEqual(told.verdict("offloads.peer_checksum"), "unknown")
        for name in ("kernel.af_xdp", "kernel.bpf", "kernel.need_wakeup", "kernel.bpf_link"):
            self.assertEqual(told.verdict(name), "ok", name)

    def test_a_large_mtu_leaves_generic_mode(self):
        with veth(mtu=9000) as (here, _):
            told = Diagnosis(here, "--interface", "xdp0")
            with xdp_program() as path:  # the doctor is right: the kernel refuses any program
                for mode, taken in (("xdpdrv", False), ("xdpgeneric", True)):
                    run = here.run("ip", "link", "set", "dev", "xdp0", mode, "obj", path, "sec", "xdp")
                    self.assertEqual(run.returncode == 0, taken, run.stderr)
        self.assertEqual(told.verdict("interface.mtu"), "warn")
        self.assertIn("MTU 9000, frames of 4096 bytes: too large for driver mode", told.fact("interface.mtu"))
        self.assertIn("mtu 1500", told.findings["interface.mtu"]["remedy"])
        self.assertEqual(told.verdict("interface.mode"), "warn")
        self.assertIn("generic", told.fact("interface.mode"))
        self.assertEqual(told.code, 0)

    def test_down_and_without_carrier(self):
        with veth(up=False) as (here, _):
            told = Diagnosis(here, "--interface", "xdp0")
            self.assertEqual((told.failing(), told.code), (["interface.link"], 1))
            self.assertIn("is down", told.fact("interface.link"))
            self.assertEqual(told.findings["interface.link"]["remedy"], "ip link set dev xdp0 up")
            here.ip("link set dev xdp0 up")
            told = Diagnosis(here, "--interface", "xdp0")
            self.assertEqual((told.failing(), told.code), (["interface.link"], 1))
            self.assertIn("no carrier", told.fact("interface.link"))

    def test_loopback(self):
        with namespace() as here:
            told = Diagnosis(here, "--interface", "lo")
            text = here.run(COMMAND, "doctor", "--interface", "lo").stdout
        self.assertEqual((told.failing(), told.code), (["interface.kind"], 1))
        self.assertIn("AF_XDP is of no use on loopback", told.fact("interface.kind"))
        self.assertIn("transport=xdp cannot run on lo as it is:\n  interface.kind ", text)

    def test_several_queues(self):
        with veth(queues=4) as (here, _):
            told = Diagnosis(here, "--interface", "xdp0")
        self.assertEqual(told.verdict("queues.receive"), "ok")
        self.assertIn("4 receive queues: a socket on each", told.fact("queues.receive"))
        self.assertEqual(told.findings["queues.receive"]["remedy"], "ethtool -L xdp0 combined 1")
        self.assertEqual(told.verdict("queues.steering"), "warn")  # veth has no RSS
        self.assertEqual(told.code, 0)

    def test_gro_is_told_as_it_is(self):
        with veth() as (here, _):
            for state in ("on", "off"):
                self.assertEqual(here.run("ethtool", "-K", "xdp0", "gro", state).returncode, 0)
                told = Diagnosis(here, "--interface", "xdp0")
                self.assertIn("is " + state, told.fact("offloads.gro"))
                self.assertEqual(told.verdict("offloads.gro"), "ok")
                for name in ("offloads.lro", "offloads.gro_hw"):  # veth has neither
                    self.assertIn(told.verdict(name), ("ok", "unknown"))

    def test_another_program_is_named(self):
        for mode, flag in (("xdpgeneric", "generic mode"), ("xdpdrv", "driver mode")):
            with self.subTest(mode=mode), veth() as (here, _), xdp_program() as path:
                here.ip(f"link set dev xdp0 {mode} obj {path} sec xdp")
                told = Diagnosis(here, "--interface", "xdp0")
                self.assertEqual((told.failing(), told.code), (["interface.program"], 1))
                self.assertIn("somebody_elses", told.fact("interface.program"))
                self.assertIn(flag, told.fact("interface.program"))
                remedy = told.findings["interface.program"]["remedy"]
                off = re.match(r"ip (link set dev xdp0 \w+ off)", remedy)
                here.ip(off.group(1))  # what it says helps
                told = Diagnosis(here, "--interface", "xdp0")
                self.assertEqual((told.failing(), told.code), ([], 0))

    def test_our_own_program_in_another_process_is_told_apart(self):
        def program():
            return Diagnosis(here, "--interface", "xdp0").findings["interface.program"]

        listen = "import socket, sys; s = socket.create_server(('10.77.0.2', 9001)); sys.stdin.read()"
        with veth() as (here, there), contextlib.ExitStack() as ends:
            there.run("ethtool", "-K", "peer0", "tx", "off")
            cat = ("cat", "ws://10.77.0.2:9001/", "--retry", "-o", "transport=xdp")
            for space, command in ((there, (support.PYTHON, "-c", listen)), (here, (COMMAND, *cat))):
                process = subprocess.Popen(
                    ["nsenter", "--net=" + space.path, *command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                ends.callback(process.wait)
                ends.callback(process.stdin.close)
                ends.callback(process.terminate)
            support.wait_until(lambda: program()["verdict"] == "fail")
            self.assertIn("wsxdp_filter", program()["fact"])
            self.assertIn("this library's, of another process", program()["reason"])
            ends.close()
            self.assertEqual(program()["verdict"], "ok")

    def test_deferred_interrupts_and_their_cure(self):
        def in_own_sysfs(space, command):
            run = space.run("unshare", "--mount", "sh", "-ec", "mount -t sysfs sysfs /sys; " + command)
            self.assertEqual(run.returncode, 0, run.stderr)

        with veth() as (here, _):
            told = Diagnosis(here, "--interface", "xdp0")
            self.assertEqual(told.verdict("timing.coalescing"), "ok")
            self.assertEqual(told.verdict("timing.trickle"), "ok")  # which is for igc
            here.run("ethtool", "-K", "xdp0", "gro", "on")  # without it, or a program, veth has no NAPI
            told = Diagnosis(here, "--interface", "xdp0")
            self.assertEqual(told.verdict("timing.napi"), "ok")
            self.assertIn("xdp.napi_defer_hard_irqs=2", told.findings["timing.napi"]["reason"])
            files = "/sys/class/net/xdp0/"
            in_own_sysfs(here, f"echo 2 > {files}napi_defer_hard_irqs; echo 200000 > {files}gro_flush_timeout")
            told = Diagnosis(here, "--interface", "xdp0")
            self.assertEqual((told.verdict("timing.napi"), told.code), ("warn", 0))
            self.assertIn("napi_defer_hard_irqs 2, gro_flush_timeout 200,000 ns", told.fact("timing.napi"))
            in_own_sysfs(here, told.findings["timing.napi"]["remedy"])  # what it says helps
            self.assertEqual(Diagnosis(here, "--interface", "xdp0").verdict("timing.napi"), "ok")


class Choice(unittest.TestCase):
    """Which interface is examined."""

    def test_that_of_the_default_route(self):
        with veth() as (here, _):
            here.ip("route add default via 10.77.0.2")
            told = Diagnosis(here)
        self.assertEqual(told.document["interface"], "xdp0")
        self.assertIn("interface.kind", told.findings)

    def test_without_one_all_that_are_up_are_listed(self):
        with veth(queues=2) as (here, _):
            here.ip("link add other0 type veth peer name other1")
            here.ip("link set dev other0 up")
            told = Diagnosis(here)
            self.assertEqual(told.document["interface"], "")
            listed = {name for name in told.findings if name.startswith("interfaces.")}
            self.assertEqual(listed, {"interfaces.xdp0", "interfaces.other0"})  # not lo, not other1
            self.assertEqual(told.verdict("interfaces.xdp0"), "ok")
            self.assertIn("driver veth, 2 queues, MTU 1500, driver mode", told.fact("interfaces.xdp0"))
            self.assertEqual(told.verdict("interfaces.other0"), "warn")
            self.assertIn("no carrier", told.fact("interfaces.other0"))
            self.assertEqual(told.findings["interfaces.xdp0"]["remedy"], "wsxdp doctor --interface xdp0")
            self.assertIn("kernel.bpf", told.findings)
            self.assertEqual(told.code, 0)

    def test_without_any(self):
        with namespace() as here:
            told = Diagnosis(here)
        self.assertEqual((told.failing(), told.code), (["interfaces.none"], 1))

    def test_that_of_the_way_to_a_url(self):
        with veth() as (here, _):
            told = Diagnosis(here, "wss://user:secret@10.77.0.2:9443/feed?x=1")
            self.assertEqual((told.document["interface"], told.code), ("xdp0", 0))
            self.assertIn("10.77.0.2", told.fact("path.route"))
            self.assertIn("through xdp0 from 10.77.0.1", told.fact("path.route"))
            self.assertNotIn("secret", told.run.stdout)
            for arguments in (("ws://10.88.0.1/",), ("--interface", "xdp0", "ws://127.0.0.1/")):
                told = Diagnosis(here, *arguments)
                self.assertEqual(told.code, 1)
                self.assertEqual(told.verdict("path.route"), "fail")
            self.assertIn("interface.kind", told.findings)  # which was chosen all the same

    def test_a_name_that_does_not_resolve(self):
        with veth() as (here, _):
            told = Diagnosis(here, "ws://nobody.invalid/")
        self.assertEqual((told.verdict("path.route"), told.code), ("fail", 1))
        self.assertIn("nobody.invalid does not resolve", told.fact("path.route"))

    def test_what_there_is_not(self):
        with veth() as (here, _):
            for arguments, word in (
                (("--interface", "nosuch0"), "'nosuch0'"),
                (("--interface", "a-name-that-no-interface-can-have"), "a-name-that"),
                (("--interface", "\033[2J"), "x1b"),
                (("--interface",), "needs a value"),
                (("--interfce", "xdp0"), "did you mean --interface?"),
                (("--json", "--loud"), "'--loud'"),
                (("ws://10.77.0.2/", "another"), "'another'"),
                (("http://10.77.0.2/",), "write ws://10.77.0.2/"),
                (("echo:",), "no network"),
                (("ws+unix:///s:/",), "no network"),
            ):
                with self.subTest(arguments=arguments):
                    run = here.run(COMMAND, "doctor", *arguments)
                    self.assertEqual((run.returncode, run.stdout), (2, ""))
                    self.assertRegex(run.stderr, r"\Awsxdp: [^\n]+\n\Z")
                    self.assertIn(word, run.stderr)


class Privileges(unittest.TestCase):
    def test_each_missing_capability_is_told(self):
        rows = {
            "net_raw": ("process.cap_net_raw", "kernel.af_xdp"),
            # CAP_SYS_ADMIN stands for it where programs are loaded, but not where links are set.
            "net_admin,sys_admin": ("process.cap_net_admin", "kernel.bpf"),
        }
        with veth() as (here, _):
            for names, (row, trial) in rows.items():
                with self.subTest(capability=names):
                    told = Diagnosis(here, "--interface", "xdp0", prefix=without(*names.split(",")))
                    self.assertEqual((told.failing(), told.code), ([row], 1))
                    self.assertIn("is missing", told.fact(row))
                    self.assertIn("--cap-add", told.findings[row]["remedy"])  # the bounding set lacks it
                    self.assertEqual(told.verdict(trial), "unknown")
                    self.assertIn(row[len("process."):].upper(), told.findings[trial]["reason"])

    def test_sys_admin_stands_for_bpf(self):
        with veth() as (here, _):
            told = Diagnosis(here, "--interface", "xdp0", prefix=without("bpf"))
            self.assertEqual((told.failing(), told.code), ([], 0))
            told = Diagnosis(here, "--interface", "xdp0", prefix=without("bpf", "sys_admin"))
            self.assertEqual((told.failing(), told.code), (["process.cap_bpf"], 1))

    def test_nobody_is_told_how_to_get_them(self):
        nobody = pwd.getpwnam("nobody")
        with veth() as (here, _), copy_for_anybody() as command:
            prefix = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
            run = here.run(*prefix, command, "doctor", "--interface", "xdp0", "--json")
            self.assertEqual((run.returncode, run.stderr), (1, ""))
            findings = {f["id"]: f for f in json.loads(run.stdout)["findings"]}
            for name in ("net_raw", "net_admin", "bpf"):
                row = findings["process.cap_" + name]
                self.assertEqual(row["verdict"], "fail")
                self.assertIn("setcap cap_net_admin,cap_net_raw,cap_bpf+ep", row["remedy"])
            for name in ("kernel.af_xdp", "kernel.bpf"):
                self.assertEqual(findings[name]["verdict"], "unknown")
            self.assertEqual(findings["interface.driver_mode"]["verdict"], "ok")  # anybody may read it
            run = here.run(*prefix, "--no-new-privs", command, "doctor", "--interface", "xdp0")
            self.assertEqual(run.returncode, 1)
            self.assertIn("run it without no_new_privs", run.stdout)

    def test_locked_memory(self):
        def limited(soft, hard):
            return lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))

        mib = 1 << 20
        with veth() as (here, _):
            drop = without("ipc_lock")
            most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
            cases = [(mib, mib, drop, "fail", "xdp.frames=512"), (4096, 4096, drop, "fail", "cap_ipc_lock"),
                     (mib, mib, (), "ok", "")]
            if most == resource.RLIM_INFINITY or most >= 64 * mib:
                cases += [(mib, 64 * mib, drop, "fail", "ulimit -l 16384"), (64 * mib, 64 * mib, drop, "ok", "")]
            for soft, hard, prefix, verdict, remedy in cases:
                with self.subTest(soft=soft, hard=hard, prefix=prefix):
                    told = Diagnosis(
                        here, "--interface", "xdp0", prefix=prefix, preexec_fn=limited(soft, hard)
                    )
                    self.assertEqual(told.verdict("process.memlock"), verdict)
                    self.assertEqual(told.code, 1 if verdict == "fail" else 0)
                    self.assertIn(remedy, told.findings["process.memlock"]["remedy"])
                    self.assertIn(f"{soft // 1024:,} KiB", told.fact("process.memlock"))
                    self.assertIn("16,384 KiB", told.findings["process.memlock"]["reason"])
            # The limit is judged as well where the trial cannot be made.
            told = Diagnosis(
                here, "--interface", "xdp0", prefix=without("ipc_lock", "net_raw"), preexec_fn=limited(mib, mib)
            )
            self.assertEqual(told.verdict("process.memlock"), "fail")


class Others(unittest.TestCase):
    def test_io_uring_is_said_not_to_be_in(self):
        with namespace() as here:
            told = Diagnosis(here, "--interface", "lo")
        self.assertEqual(told.fact("io_uring.transport"), "this build has no io_uring transport yet")
        with open("/proc/sys/kernel/io_uring_disabled", encoding="ascii") as file:
            disabled = int(file.read())
        self.assertEqual(told.verdict("io_uring.setup"), "warn" if disabled else "ok")
        self.assertIn(f"io_uring_disabled {disabled}", told.fact("io_uring.setup"))

    def test_sockets(self):
        with namespace() as here:
            told = Diagnosis(here, "--interface", "lo")
            most = here.run("cat", "/proc/sys/net/ipv4/tcp_rmem").stdout.split()[2]
            self.assertIn(f"{int(most):,} bytes", told.fact("sockets.receive_buffer"))
            here.run("sh", "-c", "echo 4096 16384 65536 > /proc/sys/net/ipv4/tcp_rmem")
            told = Diagnosis(here, "--interface", "lo")
        self.assertEqual(told.verdict("sockets.receive_buffer"), "warn")
        self.assertEqual(told.verdict("sockets.timestamps"), "ok")
        self.assertIn(told.verdict("sockets.busy_poll"), ("ok", "unknown"))

    def test_the_helper(self):
        # In a mount namespace with a /usr/local of its own: absent; as built; with capabilities; not one of ours.
        capabilities = struct.pack("<5I", 0x02000001, 1 << 12 | 1 << 13, 0, 1 << 39 - 32, 0)
        other = '#!/bin/sh\necho wsxdp-stage 99.0.0\n'
        script = (
            "import os, shutil, subprocess, sys\n"
            "helper, built, capabilities, command, other = sys.argv[1:]\n"
            "subprocess.run(['mount', '-t', 'tmpfs', 'none', '/usr/local'], check=True)\n"
            "os.mkdir(os.path.dirname(helper))\n"
            "def tell(): sys.stdout.buffer.write(subprocess.run([command, 'doctor', '--json'],"
            " stdout=subprocess.PIPE).stdout.strip().replace(b'\\n', b' ') + b'\\n')\n"
            "tell()\n"
            "shutil.copy(built, helper); tell()\n"
            "os.setxattr(helper, 'security.capability', bytes.fromhex(capabilities)); tell()\n"
            "open(helper, 'w').write(other); tell()\n"
        )
        built = os.path.join(os.path.dirname(COMMAND), "wsxdp-stage")
        with namespace() as here:
            run = here.run(
                "unshare", "--mount", sys.executable, "-c", script, HELPER, built, capabilities.hex(), COMMAND, other
            )
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        rows = [{f["id"]: f for f in json.loads(line)["findings"]} for line in run.stdout.splitlines()]
        expected = (
            ("warn", f"{HELPER}: No such file"),
            ("ok", "with no capabilities of its own"),
            ("ok", "with file capabilities cap_net_admin,cap_net_raw,cap_bpf"),
            ("warn", "is version 99.0.0"),
        )
        for findings, (verdict, words_in) in zip(rows, expected, strict=True):
            row = findings["processes.helper"]
            self.assertEqual(row["verdict"], verdict)
            self.assertIn(words_in, row["fact"])
            self.assertIn("setcap", row["reason"])
            self.assertEqual("make install" in row["remedy"], verdict == "warn")

    def test_nothing_is_changed(self):
        lines = ("ip -d link", "ip addr", "ip route", "ip neigh", "ethtool -k xdp0", "bpftool net")
        with veth(queues=2) as (here, _):
            # Addresses of IPv6 would settle while we look.
            here.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/xdp0/disable_ipv6")
            before = [here.run(*line.split()).stdout for line in lines]
            self.assertIn("xdp0", before[0])
            for arguments in ((), ("--json",), ("--interface", "xdp0"), ("ws://10.77.0.2/",)):
                self.assertEqual(here.run(COMMAND, "doctor", *arguments).returncode, 0)
            self.assertEqual([here.run(*line.split()).stdout for line in lines], before)

    def test_it_is_on_the_front_page_and_in_the_manual(self):
        self.assertIn("wsxdp doctor", support.wsxdp("help").stdout)
        page = support.wsxdp("help", "doctor").stdout
        with open(os.path.join(support.ROOT, "tools/wsxdp/wsxdp.1"), encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        self.assertIn(".SH DOCTOR", manual)
        for flag in re.findall(r"--[a-z-]+", page):
            if flag != "--help":
                self.assertIn(flag, manual)


class WithoutXdp(unittest.TestCase):
    """In a build with XDP=none, where nothing else here holds."""

    def test_the_build_is_what_is_missing(self):
        with veth() as (here, _):
            told = Diagnosis(here, "--interface", "xdp0")
            text = here.run(COMMAND, "doctor", "--interface", "xdp0").stdout
        self.assertEqual((told.failing(), told.code), (["build.xdp"], 1))
        self.assertIn("make XDP=libbpf", told.findings["build.xdp"]["remedy"])
        self.assertFalse(told.document["possible"])
        self.assertEqual(told.verdict("kernel.af_xdp"), "ok")  # what can be examined is
        self.assertIn("driver veth", told.fact("interface.kind"))
        self.assertIn("transport=xdp cannot run on xdp0 as it is:\n  build.xdp ", text)


def load_tests(loader, standard, _pattern):
    with namespace() as here:
        built = Diagnosis(here, "--interface", "lo").verdict("build.xdp") == "ok"
    if not built:
        return loader.loadTestsFromTestCase(WithoutXdp)
    suite = unittest.TestSuite()
    for group in standard:
        if not any(isinstance(case, WithoutXdp) for case in group):
            suite.addTest(group)
    return suite


if __name__ == "__main__":
    support.main()
