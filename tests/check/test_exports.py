# SPDX-License-Identifier: MIT
"""The archive's global symbols are the functions of wsxdp.h and nothing else; what it asks of others is on a list;
no C++ runtime is on it. `test_exports.py --write` writes the list anew, for a commit with its reason."""
import re
import sys

import report

EXPORTS = 'lib/capi/exports.txt'
ALLOWED = 'tests/check/undefined.allow'
ARCHIVE = report.BUILD + '/libwsxdp.a'
CXX_RUNTIME = re.compile(r'^(_Z|__cxa|_Unwind|__gxx|__dynamic_cast|_ITM)')


def symbols(*flags):
    code, output = report.run('nm', '--format=posix', *flags, ARCHIVE)
    return sorted(line.split()[0] for line in output.splitlines() if len(line.split()) > 1) if code == 0 else None


def differences(want, have, want_name, have_name):
    return (['%s is in %s and not in %s' % (n, want_name, have_name) for n in sorted(set(want) - set(have))] +
            ['%s is in %s and not in %s' % (n, have_name, want_name) for n in sorted(set(have) - set(want))])


def refused(names, allowed):
    return ['%s is asked for and not in %s' % (n, ALLOWED) for n in names if n not in allowed] + \
           ['%s belongs to the C++ runtime' % n for n in names + allowed if CXX_RUNTIME.match(n)]


def allowed_names():
    return [line for line in report.read(ALLOWED).split('\n') if line and not line.startswith('#')]


def main():
    undefined = symbols('-u')
    if '--write' in sys.argv:
        head = [line for line in report.read(ALLOWED).split('\n') if line.startswith('#')]
        with open(ALLOWED, 'w', encoding='utf-8') as file:
            file.write('\n'.join(head + [n for n in undefined if not CXX_RUNTIME.match(n)]) + '\n')
        return
    listed = report.read(EXPORTS).split()
    report.check('exports: the list is the header', differences(report.public_functions(), listed, 'wsxdp.h', EXPORTS))
    report.check('exports: the list is sorted', [] if listed == sorted(set(listed)) else 'it is not')
    report.check('exports: the archive is the list',
                 differences(listed, symbols('--defined-only', '--extern-only') or [], EXPORTS, ARCHIVE))
    report.check('undefined: the archive asks for what is allowed',
                 refused(undefined, allowed_names()) if undefined else 'nm cannot read ' + ARCHIVE)
    report.check('undefined: notices the C++ runtime', [] if refused(['_Znwm'], ['_Znwm']) else 'it does not')
    report.check('undefined: notices a new name', [] if refused(['nobody'], allowed_names()) else 'it does not')
    report.check('exports: notices a difference',
                 [] if differences(['a'], ['b'], 'x', 'y') and differences(['a'], ['a', 'b'], 'x', 'y') else 'no')
    report.finish()


main()
