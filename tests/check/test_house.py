# SPDX-License-Identifier: MIT
"""No file has marks of unfinished work or paths of somebody's machine; every source names its licence, and every
.cc says in its first lines what it does."""
import re

import report

MARKS = re.compile(r'\b(TO' + r'DO|FIX' + r'ME|X' + r'XX|HA' + r'CK)\b')
MACHINE = re.compile(r'/ho' + r'me/\w|/Us' + r'ers/\w|(?<![\w.$}])/ro' + r'ot/|(?<![\w.$}/])/wo' + r'rk/|/tmp/bu' + r'ild-')
LICENCE = 'SPDX-License-Identifier: MIT'
PARAGRAPH_BYTES = 80  # less is a title


def problems_of(path, text):
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, what in ((MARKS, 'a mark of unfinished work'), (MACHINE, 'a path of one machine')):
            if pattern.search(line):
                found.append('%s:%d: %s: %s' % (path, number, what, line.strip()[:80]))
    if path.endswith(('.cc', '.c', '.h')) and LICENCE not in text[:60]:
        found.append('%s: the first line does not name the licence' % path)
    if path.startswith(('lib/', 'tools/', 'bench/', 'fuzz/')) and path.endswith('.cc'):
        head = re.match(r'(//[^\n]*\n)+', text)
        if not head or len(head.group(0)) < len(LICENCE) + PARAGRAPH_BYTES:
            found.append('%s: no paragraph at the top that says what it does' % path)
    return found


def main():
    files = [f for f in report.tracked_files() if not f.startswith('fuzz/corpus/')]
    report.check('house: %d files' % len(files), [p for f in files for p in problems_of(f, report.read(f))])
    top = '// %s\n' % LICENCE
    bad = ('a.md', 'TO' + 'DO: more'), ('a.md', 'see /ho' + 'me/me/x'), ('a.md', 'in /wo' + 'rk/x'), ('a.h', ''), \
          ('lib/a.cc', top + '// Short.\nint x;\n')
    report.check('house: notices the bad', [p for p, t in bad if len(problems_of(p, t)) != 1])
    report.check('house: lets the good be', problems_of('a.md', 'mkdtemp("/tmp/wsxdp-XXXXXX") dir/wo' + 'rk/x'))
    code, output = report.run('strings', '-a', report.BUILD + '/libwsxdp.a')
    report.check('house: no machine path in the archive',
                 [line for line in output.splitlines() if report.ROOT + '/' in line][:5] if code == 0 else output)
    report.finish()


main()
