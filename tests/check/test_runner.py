# SPDX-License-Identifier: MIT
"""tests/run.py itself: it must notice every way in which a test can fail."""
import os
import sys
import tempfile

import report

LIMIT_S = 10  # of a script that says one line; a machine with other work has been seen to need more than 3
SLOW_LIMIT_S = 1  # of the one that outlives any
GOOD = 'echo "3 passed, 0 failed, 0 skipped"'
CASES = {  # name: (script, exit code, totals)
    'test_good.sh': (GOOD, 0, '3 passed, 0 failed, 0 skipped'),
    'test_cmocka.sh': ('printf "[==========] Running 2 test(s).\\n[  PASSED  ] 2 test(s).\\n"', 0,
                       '2 passed, 0 failed, 0 skipped'),
    'test_groups.sh': ('printf "[==========] 3 test(s) run.\\n[  PASSED  ] 2 test(s).\\n[  FAILED  ] 1 test(s), '
                       'listed below:\\n[==========] 1 test(s) run.\\n[  PASSED  ] 1 test(s).\\n"; exit 1', 1,
                       '3 passed, 1 failed, 0 skipped'),
    'test_failed.sh': ('echo "2 passed, 1 failed, 0 skipped"; exit 1', 1, '2 passed, 1 failed, 0 skipped'),
    'test_code.sh': (GOOD + '; exit 3', 1, '3 passed, 1 failed, 0 skipped'),
    'test_crash.sh': ('kill -SEGV $$', 1, '0 passed, 1 failed, 0 skipped'),
    'test_silent.sh': ('exit 0', 1, '0 passed, 1 failed, 0 skipped'),
    'test_empty.sh': ('printf "[==========] Running 0 test(s).\\n"', 1, '0 passed, 1 failed, 0 skipped'),
    'test_slow.sh': ('sleep 30', 1, '0 passed, 1 failed, 0 skipped'),
    'test_orphan.sh': ('sleep 30 & ' + GOOD, 1, '3 passed, 1 failed, 0 skipped'),
    'test_skipped.sh': ('echo "SKIP it: no wheels"; echo "1 passed, 0 failed, 1 skipped"', 1,
                        '1 passed, 0 failed, 1 skipped'),
    'test_absent.sh': (None, 1, '0 passed, 1 failed, 0 skipped'),
}
# A case fails in the first of a thousand lines.
LONG = ('printf "[==========] Running 2 test(s).\\n[ RUN      ] one\\n[  ERROR   ] --- the cause\\n[  FAILED  ] one\\n'
        '[ RUN      ] two\\n"; for i in $(seq 999); do echo "hay $i"; done; printf "[       OK ] two\\n[==========] '
        '2 test(s) run.\\n[  PASSED  ] 1 test(s).\\n[  FAILED  ] 1 test(s), listed below:\\n[  FAILED  ] one\\n"; exit 1')


def run(folder, name, script, **more):
    path = os.path.join(folder, name)
    if script is not None:
        with open(path, 'w', encoding='utf-8') as file:
            file.write(script + '\n')
    environment = {k: v for k, v in os.environ.items() if k != 'WSXDP_ALLOW_SKIP'}
    environment.update(more)
    limit = SLOW_LIMIT_S if name == 'test_slow.sh' else LIMIT_S
    return report.run(sys.executable, 'tests/run.py', '--limit=%d' % limit, path, env=environment)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name, (script, want_code, want_totals) in CASES.items():
            code, output = run(folder, name, script)
            good = code == want_code and output.splitlines()[-1] == want_totals
            report.check('runner: ' + name, [] if good else ['exit code %d' % code] + output.splitlines())
        code, output = run(folder, 'test_skipped.sh', CASES['test_skipped.sh'][0], WSXDP_ALLOW_SKIP='1')
        report.check('runner: skips may be allowed', [] if code == 0 and 'no wheels' in output else output)
        code, output = run(folder + '/none', 'test_x.py', None)
        report.check('runner: a missing script fails', [] if code == 1 else output)
        code, output = run(folder, 'test_long.sh', LONG)
        wrong = [] if output.count("the cause") == 2 and 'hay 999' not in output else output.splitlines()
        report.check('runner: a failed case is shown, however much comes after it', wrong)
        os.mkdir(folder + '/build-thread')
        code, output = run(folder + '/build-thread', 'test_race.sh', 'echo "WARNING: ThreadSanitizer: race"; ' + GOOD,
                           BUILD=folder + '/build')
        report.check('runner: a sanitizer\'s word counts', [] if code == 1 and 'complained' in output else output)
    report.finish()


main()
