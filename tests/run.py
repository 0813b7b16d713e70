#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs test programs, a few at a time, and counts their cases.

A program is a cmocka program, or a script whose last line is `N passed, N failed, N skipped`, or a fuzz replay
(replay_NOUN), which gets the files of fuzz/corpus/NOUN. One line each; the output of those that failed, the
reasons of those that skipped; the totals are the last line. A program fails that exits non-zero, counts nothing,
outlives its limit, or leaves a process behind. A skip is a failure too, unless WSXDP_ALLOW_SKIP is set: on a
machine that has what `make deps` installs nothing needs to be skipped.
Programs with _excl in their name run alone, after the others. `threads,PROGRAM` and `processes,PROGRAM` run it with
each stage of every handle in a thread or a process of its own, `thread,` and `process,` with all of them in one, `rx,`,
`rxws,`, `rxtx,`, `tlstx,` and `fold,` with rx, tls and tx in threads as PLACEMENTS says, `nic,` and `nicws,` with
transport=xdp's nic in a thread of its own, and ws in another or with transport;
`nicprocess,` with each of the three in a process of its own
(tests/pipeline/session.h reads the placement from the environment).
"""
import argparse
import concurrent.futures
import glob
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

LIMIT_S = 120            # one program; most take less than one second
LIMIT_SANITIZED_S = 300  # a race detector is an order of magnitude slower
LEFT_BEHIND_S = 2        # what a killed child may still need to disappear
TOTALS = re.compile(r'^(\d+) passed, (\d+) failed, (\d+) skipped$')
# cmocka's own words, of each group in the program.
CMOCKA = {kind: re.compile(r'^\[\s+%s\s*\] (\d+) test\(s\)' % word, re.M)
          for kind, word in (('passed', 'PASSED'), ('failed', 'FAILED'), ('skipped', 'SKIPPED'))}
BEGINS, FAILS = re.compile(r'^\[ RUN +\] (\S+)'), re.compile(r'^\[  FAILED  \] (\S+)$')
CAUSE = re.compile(r'^\[  ERROR   \]|^\[   LINE   \]|^\[  FAILED  \] \S+$|^FAIL\b|^ERROR: |SUMMARY: ')
CAUSE_LINES = 12         # beside the line of a program, while the others go on
SANITIZER = re.compile(r'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|: runtime error: ')
SANITIZER_OPTIONS = {
    'ASAN_OPTIONS': 'detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
}


class Result:
    def __init__(self, name):
        self.name, self.passed, self.failed, self.skipped = name, 0, 0, 0
        self.output, self.why, self.seconds = '', '', 0.0


PLACEMENTS = {'threads': 'threads: transport ws', 'thread': 'threads: transport+ws',
              'rx': 'threads: rx tls tx', 'rxws': 'threads: rx tls ws tx', 'rxtx': 'threads: rx tx',
              'tlstx': 'threads: rx tls+tx ws', 'fold': 'threads: rx+tx+ws tls',
              'processes': 'processes: transport ws', 'process': 'processes: transport+ws',
              'nic': 'threads: nic transport ws', 'nicws': 'threads: nic transport+ws',
              'nicprocess': 'processes: nic transport ws'}


def placed(name):
    """Placement and path of a program as it is named on the command line."""
    head, comma, path = name.partition(',')
    return (PLACEMENTS[head], path) if comma else ('', name)


def variant_of(path, build):
    """'' for the plain build, else 'address-undefined', 'thread' ..."""
    match = re.match(re.escape(build) + r'-(address-undefined|thread|fuzzer)\b', path)
    return match.group(1) if match else ''


def build_of(path, build):
    """The build directory that a program came from; scripts test the plain one."""
    match = re.match(r'(' + re.escape(build) + r'[^/]*)/', path)
    return match.group(1) if match else build


def count_cases(output, result):
    lines = output.rstrip().splitlines()
    match = TOTALS.match(lines[-1].strip()) if lines else None
    if match:
        result.passed, result.failed, result.skipped = (int(text) for text in match.groups())
        return True
    numbers = {kind: sum(int(n) for n in pattern.findall(output)) for kind, pattern in CMOCKA.items()}
    result.passed, result.failed, result.skipped = numbers['passed'], numbers['failed'], numbers['skipped']
    return '[==========]' in output and sum(numbers.values()) > 0


def command_of(path, python, no_aslr):
    name = os.path.basename(path)
    if name.endswith('.py'):
        return [python, path]
    if name.endswith('.sh'):
        return ['sh', path]
    command = no_aslr + [os.path.abspath(path)]
    if name.startswith('replay_'):
        command += sorted(glob.glob('fuzz/corpus/%s/*' % name[len('replay_'):]))
    return command


def session_members(session):
    """Processes that are there and not only to be waited for; also those with a group of their own."""
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/stat' % name, 'rb') as file:
                fields = file.read().rpartition(b')')[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session and fields[0] not in b'ZX':
            yield int(name)


def left_behind(session):
    """Whether processes of the program's session outlive it; if so they are ended."""
    until = time.monotonic() + LEFT_BEHIND_S
    while list(session_members(session)):
        if time.monotonic() >= until:
            break
        time.sleep(0.02)
    else:
        return False
    for pid in session_members(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return True


def run_one(name, settings):
    placement, path = placed(name)
    variant = variant_of(path, settings.build)
    result = Result(name)
    environment = {k: v for k, v in os.environ.items() if not k.startswith('MAKE') and k not in ('MFLAGS', 'SAN')}
    environment.update(SANITIZER_OPTIONS, BUILD=build_of(path, settings.build), PYTHON=settings.python,
                       WSXDP_SEED=str(settings.seed), NODE_PATH='/usr/share/nodejs', LC_ALL='C.UTF-8',
                       WSXDP_PLACEMENT=placement)
    command = command_of(path, settings.python, settings.no_aslr if variant else [])
    limit = settings.limit or (LIMIT_SANITIZED_S if variant else LIMIT_S)
    began = time.monotonic()
    with tempfile.TemporaryFile() as sink:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                                       env=environment, start_new_session=True)
        except OSError as error:
            result.failed, result.why = 1, 'cannot be started: %s' % error
            return result
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code, result.why = None, 'not done after %d s' % limit
        orphans = left_behind(process.pid)
        result.seconds = time.monotonic() - began
        sink.seek(0)
        result.output = sink.read().decode('utf-8', 'replace')
    counted = count_cases(result.output, result)
    if code is not None and code < 0:
        result.why = 'ended by %s' % signal.Signals(-code).name
    elif code and not result.failed:
        result.why = 'exit code %d' % code
    elif code is not None and not counted:
        result.why = 'no count of its cases in its output'
    elif code == 0 and orphans:
        result.why = 'left processes behind'
    elif variant and not result.failed and SANITIZER.search(result.output):
        result.why = 'a sanitizer complained'
    if result.why:
        result.failed += 1
    return result


def show(result):
    state = 'FAIL' if result.failed else 'SKIP' if result.skipped else 'ok'
    text = '%-4s  %-58s %4d passed' % (state, result.name, result.passed)
    for count, word in ((result.failed, 'failed'), (result.skipped, 'skipped')):
        text += ', %d %s' % (count, word) if count else ''
    print('%s  %.1f s%s' % (text, result.seconds, '  (%s)' % result.why if result.why else ''), flush=True)
    if result.skipped:
        for line in result.output.splitlines():
            if re.search(r'^\s*SKIP|\[\s+SKIPPED', line):
                print('          ' + line.strip(), flush=True)
    if result.failed:
        for line in [line for line in result.output.splitlines() if CAUSE.search(line)][:CAUSE_LINES]:
            print('          ' + line.strip(), flush=True)


def run_all(paths, settings):
    results, lock = [], threading.Lock()

    def job(path):
        result = run_one(path, settings)
        with lock:
            results.append(result)
            show(result)

    alone = [path for path in paths if '_excl' in os.path.basename(path)]
    with concurrent.futures.ThreadPoolExecutor(settings.jobs) as pool:
        list(pool.map(job, [path for path in paths if path not in alone]))
    for path in alone:
        job(path)
    return results


def failed_cases(lines, most):
    """Of cmocka's output the cases that failed, each with the end of what it printed."""
    found, begin = [], 0
    for at, line in enumerate(lines):
        fails = FAILS.match(line)
        if BEGINS.match(line):
            begin = at
        elif fails and fails.group(1) == (BEGINS.match(lines[begin]) or fails).group(1):
            found += lines[max(begin, at + 1 - most):at + 1]
            begin = at + 1  # the list of all that failed names it again
    return found


def report(results, settings):
    for result in results:
        if result.failed:
            print('\n---- %s: %s' % (result.name, result.why or '%d failed' % result.failed))
            # cmocka leaves a failed case by longjmp: what the case held then is no leak of ours.
            output = result.output if result.why else result.output.split('ERROR: LeakSanitizer')[0]
            lines = output.rstrip().splitlines()
            # Others that came later would push it out of what is shown.
            if len(lines) > settings.lines and not result.why:
                lines = failed_cases(lines, settings.lines) or lines
            if len(lines) > settings.lines:
                print('     (the last %d of %d lines)' % (settings.lines, len(lines)))
            print('\n'.join(lines[-settings.lines:]))
    passed, failed, skipped = (sum(getattr(r, k) for r in results) for k in ('passed', 'failed', 'skipped'))
    refused = skipped and not os.environ.get('WSXDP_ALLOW_SKIP')
    print()
    if failed:
        print('again with the same random input: make test SEED=%s' % settings.seed)
    if refused:
        print('skipped tests count as failure here: run `make deps`, or set WSXDP_ALLOW_SKIP=1')
    if not results:
        print('no test has this in its path: %s' % settings.only)
    print('%d passed, %d failed, %d skipped' % (passed, failed, skipped), flush=True)
    return 1 if failed or refused or not results else 0


def no_aslr_prefix():
    # Sanitizers reserve fixed addresses, which some kernels' randomisation hits now and then.
    prefix = ['setarch', '-R']
    works = shutil.which('setarch') and subprocess.run(prefix + ['true'], capture_output=True, check=False)
    return prefix if works and works.returncode == 0 else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seed', default='1')
    parser.add_argument('--only', default='')
    # One more than there are processors: a third of the time programs wait.
    parser.add_argument('--jobs', type=int, default=(os.cpu_count() or 1) + 1)
    parser.add_argument('--limit', type=float, default=0, help='seconds per program')
    parser.add_argument('--lines', type=int, default=120, help='of a failing program\'s output')
    parser.add_argument('programs', nargs='*')
    settings = parser.parse_args()
    settings.build = os.environ.get('BUILD', 'build')
    settings.python = os.environ.get('PYTHON', sys.executable)
    settings.no_aslr = no_aslr_prefix()
    if settings.seed == 'random':
        settings.seed = random.SystemRandom().randrange(1, 1 << 31)
    began = time.monotonic()
    chosen = [path for path in dict.fromkeys(settings.programs) if settings.only in path]
    print('%d programs, %d at a time, seed %s' % (len(chosen), settings.jobs, settings.seed), flush=True)
    try:
        results = run_all(chosen, settings)
    except FileNotFoundError as error:
        sys.exit('tests/run.py: %s' % error)
    print('\n%.0f s' % (time.monotonic() - began), end='')
    sys.exit(report(results, settings))


if __name__ == '__main__':
    main()
