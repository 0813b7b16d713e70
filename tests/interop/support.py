# SPDX-License-Identifier: MIT
"""What the tests in this folder share: the client program, built as a user would build it, and other people's
servers, each a process that ends with its standard input, at a place that the test chooses."""
import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SERVERS = os.path.join(HERE, "servers")
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")
CC, CXX = (shlex.split(os.environ.get(name, default)) for name, default in (("CC", "gcc"), ("CXX", "g++")))
LIMIT_S = 60
# Room for the largest messages here.
BIG = ("inbox.bytes=64MiB", "outbox.bytes=64MiB")

sys.path[:0] = [os.path.join(ROOT, "tools/simulator"), os.path.join(ROOT, "tests")]
import cases  # noqa: E402
import certificates  # noqa: E402


def main():
    """As cases.main, with what all of them use."""
    with Workshop.make():
        cases.main()


class Place:
    """Where servers run and which address they listen on; this one is the machine's own loopback. Another may be in
    another network namespace: `enter` is then what a server's process does before it becomes the server."""
    address = "127.0.0.1"
    enter = None

    def inside(self):
        """For the time of a `with`, this process is where the servers are."""
        return contextlib.nullcontext()

    def authority(self, port):
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"


LOOPBACK = Place()
# Every address that a server of these tests listens on.
NAMES = ("localhost", "127.0.0.1", "10.77.0.2", "fd77::2")


class Workshop:
    """A temporary directory with the programs and certificates that the tests use; made once."""
    directory = client = ca = certificate = key = None

    @classmethod
    @contextlib.contextmanager
    def make(cls):
        with tempfile.TemporaryDirectory() as cls.directory:
            cls.client = os.path.join(cls.directory, "client")
            subprocess.run([*CXX, "-std=c++17", "-O1", "-I", os.path.join(ROOT, "include"), "-o", cls.client,
                            os.path.join(HERE, "client.cc"), os.path.join(BUILD, "libwsxdp.a"),
                            *cases.libraries(BUILD)], check=True)
            cls.ca, cls.certificate, cls.key = certificates.make(cls.directory, NAMES)
            yield


def client_command(url, *words):
    """The client program, with its stages where tests/run.py says."""
    placement = os.environ.get("WSXDP_PLACEMENT")
    where = [f"placement={placement}", "stage.path=" + os.path.join(BUILD, "wsxdp-stage")] if placement else []
    return [Workshop.client, url, *where, *words]


def client(url, *words):
    """Runs the client program; returns its output, or raises what it says."""
    run = subprocess.run(client_command(url, *words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         errors="replace", timeout=LIMIT_S)
    if run.returncode != 0:
        raise AssertionError(f"{url} {' '.join(words)[:300]}:\n{run.stdout}{run.stderr}")
    return run.stdout


@contextlib.contextmanager
def server(place, *command):
    """Runs a server that prints its port and ends with its standard input; gives the port."""
    environment = {**os.environ, "NODE_PATH": "/usr/share/nodejs"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
                               preexec_fn=place.enter)
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"{command} did not start")
        yield int(line)
    finally:
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
        process.wait()
        process.stdout.close()


def listener(place=LOOPBACK):
    """A socket of this process that accepts connections there."""
    with place.inside():
        family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
        return socket.create_server((place.address, 0), family=family)


def free_port(place=LOOPBACK):
    with listener(place) as sock:
        return sock.getsockname()[1]


def wait_for_port(place, port, process):
    until = time.monotonic() + 10
    while True:
        with contextlib.suppress(ConnectionRefusedError), place.inside():
            return socket.create_connection((place.address, port), 5).close()
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"{process.args} does not listen")
        time.sleep(0.02)


@contextlib.contextmanager
def listening(place, port, *command):
    """Runs a server that cannot say when it is ready; ends it by its process number."""
    with open(os.path.join(Workshop.directory, "log"), "w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=place.enter)
        try:
            wait_for_port(place, port, process)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen {front} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols {protocols};
        location / {{
            proxy_pass http://{behind}; proxy_http_version 1.1; proxy_read_timeout 60s;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(behind, protocols="TLSv1.3", place=LOOPBACK):
    """nginx that ends TLS in front of a server at port `behind`."""
    port = free_port(place)
    with tempfile.TemporaryDirectory(dir=Workshop.directory) as directory:
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w") as file:
            file.write(NGINX.format(directory=directory, front=place.authority(port),
                                    behind=place.authority(behind), protocols=protocols,
                                    certificate=Workshop.certificate, key=Workshop.key))
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        with listening(place, port, program, "-p", directory, "-c", path, "-e", os.path.join(directory, "error.log")):
            yield port


@contextlib.contextmanager
def websockets(tls=False, deflate=None, place=LOOPBACK):
    arguments = ["--address", place.address]
    arguments += ["--tls", Workshop.certificate, Workshop.key] if tls else []
    arguments += [] if deflate is None else ["--deflate", json.dumps(deflate)]
    with server(place, PYTHON, os.path.join(SERVERS, "websockets_server.py"), *arguments) as port:
        yield port


@contextlib.contextmanager
def node(tls=False, deflate=None, place=LOOPBACK):
    arguments = ["--address", place.address]
    arguments += ["--tls", Workshop.certificate, Workshop.key] if tls else []
    arguments += [] if deflate is None else ["--deflate", json.dumps(deflate)]
    with server(place, "node", os.path.join(SERVERS, "ws_server.js"), *arguments) as port:
        yield port


@contextlib.contextmanager
def libwebsockets(tls=False, place=LOOPBACK):
    program = os.path.join(Workshop.directory, "lws_server")
    if not os.path.exists(program):
        subprocess.run([*CC, "-O1", os.path.join(SERVERS, "lws_server.c"), "-o", program, "-lwebsockets"], check=True)
    with server(place, program, place.address, *([Workshop.certificate, Workshop.key] if tls else [])) as port:
        yield port


@contextlib.contextmanager
def beast(tls=False, deflate=False, fragment=0, place=LOOPBACK):
    arguments = ["--address", place.address]
    arguments += ["--tls", Workshop.certificate, Workshop.key] if tls else []
    arguments += ["--deflate"] if deflate else []
    arguments += ["--fragment", str(fragment)] if fragment else []
    with server(place, os.path.join(BUILD, "bench/beast_server"), *arguments) as port:
        yield port


def url(port, tls=False, path="/echo", place=LOOPBACK):
    return f"{'wss' if tls else 'ws'}://{place.authority(port)}{path}"


def trust():
    return ("tls.ca_file=" + Workshop.ca,)
