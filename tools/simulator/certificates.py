# SPDX-License-Identifier: MIT
"""A certificate authority made on the spot, and a server certificate signed by it, with the openssl command.

Nothing made here is ever trusted by the machine: a client must be given the authority's file. The keys
live in the directory that the caller names and are worth nothing elsewhere.
"""
import os
import subprocess

EXTENSIONS = """[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def alternative_names(hosts):
    numeric = [h for h in hosts if h.replace(".", "").isdigit() or ":" in h]
    return ", ".join(f"{'IP' if h in numeric else 'DNS'}:{h}" for h in hosts)


def make(directory, hosts=("localhost", "127.0.0.1", "::1"), days=30):
    """Writes ca.pem, server.pem and server.key (and what it took to make them); returns these three paths."""
    path = lambda name: os.path.join(directory, name)
    with open(path("extensions.cnf"), "w") as file:
        file.write(EXTENSIONS.format(names=alternative_names(hosts)))
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name, subject in (("ca", "/CN=wsxdp simulator authority"), ("server", f"/CN={hosts[0]}")):
        openssl(
            "req",
            "-new",
            *new_key,
            "-keyout",
            path(name + ".key"),
            "-out",
            path(name + ".csr"),
            "-subj",
            subject,
        )
    extensions = ["-days", str(days), "-extfile", path("extensions.cnf")]
    openssl(
        "x509",
        "-req",
        "-in",
        path("ca.csr"),
        "-signkey",
        path("ca.key"),
        *extensions,
        "-extensions",
        "ca",
        "-out",
        path("ca.pem"),
    )
    openssl(
        "x509",
        "-req",
        "-in",
        path("server.csr"),
        "-CA",
        path("ca.pem"),
        "-CAkey",
        path("ca.key"),
        "-CAcreateserial",
        *extensions,
        "-extensions",
        "server",
        "-out",
        path("server.pem"),
    )
    return path("ca.pem"), path("server.pem"), path("server.key")
