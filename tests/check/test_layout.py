# SPDX-License-Identifier: MIT
"""Sizes and offsets of every public struct, and the values of every public constant, are those of
tests/abi/layout.golden. `test_layout.py --write` writes it anew: for additions only, in a commit with the reason."""
import os
import re
import sys
import tempfile

import report

GOLDEN = 'tests/abi/layout.golden'
HEADER = 'include/wsxdp.h'


def structs(text):
    """{name: [field]} of the structs that the header defines."""
    code = report.code_only(text)
    return {name: re.findall(r'(\w+)\s*(?:\[[^\]]*\]\s*)*;', body)
            for name, body in re.findall(r'typedef\s+struct\s+\w+\s*\{([^}]*)\}\s*(\w+)\s*;', code)
            for name, body in [(body, name)]}


def constants(text):
    return re.findall(r'^#define (WSXDP_\w+) +[(\w"-]', report.code_only(text), re.M)


def program(text):
    lines = ['#include "wsxdp.h"', '#include <stdio.h>', 'int main(void) {']
    for name, fields in structs(text).items():
        lines.append('printf("struct %s %%lu\\n", (unsigned long)sizeof(%s));' % (name, name))
        for field in fields:
            lines.append('printf("  %s.%s at %%lu size %%lu\\n", (unsigned long)offsetof(%s, %s), '
                         '(unsigned long)sizeof(((%s *)0)->%s));' % (name, field, name, field, name, field))
    for name in constants(text):
        if name not in ('WSXDP_H', 'WSXDP_API') and not name.startswith('WSXDP_VERSION'):
            lines.append('printf("%s %%lld\\n", (long long)(%s));' % (name, name))
    return '\n'.join(lines + ['return 0; }', ''])


def layout(text):
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + '/wsxdp.h', 'w', encoding='utf-8') as file:
            file.write(text)
        with open(folder + '/layout.c', 'w', encoding='utf-8') as file:
            file.write(program(text))
        code, output = report.run(os.environ.get('CC', 'gcc'), '-I' + folder, folder + '/layout.c', '-o', folder + '/layout')
        return report.run(folder + '/layout')[1] if code == 0 else output


def differences(want, have):
    want, have = want.splitlines(), have.splitlines()
    return ['gone or changed: ' + line for line in want if line not in have] + \
           ['new: ' + line for line in have if line not in want]


def main():
    text = report.read(HEADER)
    have = layout(text)
    if '--write' in sys.argv:
        with open(GOLDEN, 'w', encoding='utf-8') as file:
            file.write(have)
        return
    report.check('layout: as in ' + GOLDEN, differences(report.read(GOLDEN), have))
    report.check('layout: every struct is in it', [n for n in ('wsxdp_event', 'wsxdp_error', 'wsxdp_stats_t', 'wsxdp_option')
                                                   if 'struct %s ' % n not in have])
    report.check('layout: the event is 128 bytes', [] if 'struct wsxdp_event 128\n' in have else 'it is not')
    changed = layout(text.replace('uint32_t kind;', 'uint64_t kind;', 1)), \
        layout(text.replace('#define WSXDP_E_URL (-104)', '#define WSXDP_E_URL (-105)'))
    report.check('layout: notices a change', [] if all(differences(have, other) for other in changed) else 'it does not')
    report.finish()


main()
