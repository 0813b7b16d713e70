# SPDX-License-Identifier: MIT
"""What the Python checks share: counting cases, running commands, finding sources."""
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.chdir(ROOT)
BUILD = os.environ.get('BUILD', 'build')
counts = {'passed': 0, 'failed': 0, 'skipped': 0}


def check(name, problems):
    """One case: passes when there are no problems, a list of sentences."""
    problems = [problems] if isinstance(problems, str) and problems else list(problems or [])
    counts['failed' if problems else 'passed'] += 1
    print('%s %s' % ('FAIL' if problems else 'ok  ', name))
    for problem in problems:
        print('     ' + problem)


def skip(name, reason):
    counts['skipped'] += 1
    print('SKIP %s: %s' % (name, reason))


def finish():
    print('%(passed)d passed, %(failed)d failed, %(skipped)d skipped' % counts)
    sys.exit(1 if counts['failed'] else 0)


def run(*command, **options):
    """(exit code, output of both kinds)"""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True,
                          errors='replace', **options)
    return done.returncode, done.stdout


def sources(*folders, kinds=('.cc', '.h', '.c')):
    found = []
    for folder in folders:
        for path, _, names in os.walk(folder):
            found += [os.path.join(path, name) for name in names if name.endswith(kinds)]
    return sorted(found)


def read(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def lib_objects():
    """Of this build, without those whose source is gone."""
    found = glob.glob(os.path.join(BUILD, 'lib', '**', '*.o'), recursive=True)
    return sorted(path for path in found if os.path.exists(os.path.relpath(path, BUILD)[:-2] + '.cc'))


def public_functions():
    """Names that the header declares, in its order."""
    header = code_only(read('include/wsxdp.h'))
    return re.findall(r'^WSXDP_API\b[^;(]*?\b(\w+)\s*\(', header, re.M)


def tracked_files():
    code, output = run('git', 'ls-files', '-co', '--exclude-standard')
    if code == 0:
        return sorted(path for path in output.splitlines() if os.path.isfile(path))
    return sorted(path[2:] for path in sources('.', kinds=('',)) if not path.startswith(('./build', './.git/')))


def code_only(text):
    """The text with comments and the insides of literals blanked, line for line."""
    out, i, end = [], 0, len(text)
    while i < end:
        two = text[i:i + 2]
        if two == '//':
            stop = text.find('\n', i)
            stop = end if stop < 0 else stop
        elif two == '/*':
            stop = text.find('*/', i + 2)
            stop = end if stop < 0 else stop + 2
        elif two == 'R"' and '(' in text[i:i + 20]:
            mark = text[i + 2:text.index('(', i)]
            stop = text.find(')' + mark + '"', i)
            stop = end if stop < 0 else stop + len(mark) + 2
        elif text[i] == '"' or (text[i] == "'" and not (i and (text[i - 1].isalnum()))):
            quote, stop = text[i], i + 1
            while stop < end and text[stop] != quote and text[stop] != '\n':
                stop += 2 if text[stop] == '\\' else 1
            stop = min(stop + 1, end)
            out.append(quote + ''.join('\n' if c == '\n' else ' ' for c in text[i + 1:stop - 1]) + quote)
            i = stop
            continue
        else:
            out.append(text[i])
            i += 1
            continue
        out.append(''.join('\n' if c == '\n' else ' ' for c in text[i:stop]))
        i = stop
    return ''.join(out)
