# SPDX-License-Identifier: MIT
"""What test scripts in any folder share: running a file's cases so that tests/run.py counts them, and what a program
with the archive in it is linked with."""
import os
import subprocess
import sys
import unittest


def main():
    """Runs the test cases of the calling file; the last line is what tests/run.py counts."""
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(
        unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    for case, reason in result.skipped:
        print(f"SKIP {case}: {reason}")
    # Each part of a case that fails is counted, so that there may be more of them than cases.
    print(f"{max(0, result.testsRun - failed - skipped)} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


def libraries(build):
    """Of the archive in that directory, by what it asks for."""
    symbols = subprocess.run(["nm", "-u", os.path.join(build, "libwsxdp.a")], capture_output=True, text=True,
                             check=True).stdout
    tls = ["-lssl", "-lcrypto"] if " SSL_" in symbols or " EVP_" in symbols else []
    return tls + (["-lxdp", "-lbpf"] if " bpf_" in symbols else []) + ["-lz", "-pthread"]
