# SPDX-License-Identifier: MIT
"""tests/tcp-conformance.md tells the truth: every test that it names exists where it says, every row names
one or gives the reason of a deviation, and no label of RFC 9293 is missing. A case of a script counts when
the script has the line `case NAME`, one of a cmocka program when main() registers it."""
import os
import re

import report

TABLE = 'tests/tcp-conformance.md'
# RFC 9293 appendix B: all numbers up to these are in use.
LABELS = ['MUST-%d' % n for n in range(1, 70)] + ['SHLD-%d' % n for n in range(1, 32)]
NAMED = re.compile(r'`(tests/[^`:]+): ([^`]+)`')
REASON = re.compile(r'^(deviation|not applicable): (\S+ \S+ \S|see \S+$)')  # three words, or another row
DIVIDER = re.compile(r'^\|[-|]+\|$')


def rows(text):
    """(line number, section, cells) of each row of each table."""
    section, found, lines = '', [], text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith('## '):
            section = line[3:].split(':')[0]
        is_head = number < len(lines) and DIVIDER.match(lines[number])
        if line.startswith('|') and not DIVIDER.match(line) and not is_head:
            found.append((number, section, [cell.strip() for cell in line.strip('|').split('|')]))
    return found


def cases_in(path):
    """The names that a test file's cases have."""
    text = report.read(path)
    if path.endswith('.txt'):
        return set(re.findall(r'^case (\S+)\s*$', text, re.M))
    if path.endswith('.cc'):
        return set(re.findall(r'\bcmocka_unit_test\w*\(\s*(\w+)', report.code_only(text)))
    return set(re.findall(r'\w[\w-]*', text))


def problems_of_cell(cell):
    if not cell:
        return ['the last column is empty']
    if '?' in re.sub(r'`[^`]*`', '', cell):
        return ['a test is still to be written']
    named = NAMED.findall(cell)
    found = []
    for path, name in named:
        if not os.path.isfile(path):
            found.append('there is no ' + path)
        elif name not in cases_in(path):
            found.append('%s has no case %s' % (path, name))
    if len(re.findall(r'`tests/', cell)) != len(named):
        found.append('a test is not named as `file: case`')
    if re.match(r'deviation|not applicable', cell):
        if not REASON.match(cell.split('<br>')[0]):
            found.append('no reason is given')
    elif not named:
        found.append('neither a test nor a reason')
    return found


def problems_of(text):
    found, seen = [], set()
    for number, section, cells in rows(text):
        where = '%s:%d: %s %s' % (TABLE, number, section, cells[0])
        if len(cells) != 3:
            found.append('%s: %d columns' % (where, len(cells)))
            continue
        if (section, cells[0]) in seen:
            found.append(where + ': a second time')
        seen.add((section, cells[0]))
        found += ['%s: %s' % (where, problem) for problem in problems_of_cell(cells[2])]
    return found


def missing_labels(text):
    have = {cells[0] for _, section, cells in rows(text) if section == 'RFC 9293'}
    return ['%s: RFC 9293 %s is not there' % (TABLE, label) for label in LABELS if label not in have]


def main():
    text = report.read(TABLE)
    report.check('conformance: %d rows' % len(rows(text)), problems_of(text))
    report.check('conformance: every label of RFC 9293', missing_labels(text))
    head = '## RFC 1: Sample\n\n| where | requirement | test |\n|---|---|---|\n'
    good = head + ('| 1 | a | `tests/tcp/test_isn.cc: test_isn_clock` |\n'
                   '| 2 | b | deviation: too slow for us |\n| 3 | c | not applicable: see 2 |\n')
    bad = ('| 1 | a | |', '| 1 | a | ? |', '| 1 | a | `tests/tcp/test_isn.cc: test_isn_clock`<br>? |',
           '| 1 | a | `tests/tcp/test_isn.cc: test_isn_cloc` |',
           '| 1 | a | `tests/tcp/test_none.cc: test_isn_clock` |',
           '| 1 | a | deviation: too slow<br>`tests/tcp/test_isn.cc` |', '| 1 | a | deviation: no |',
           '| 1 | a | not applicable: no<br>`tests/tcp/test_isn.cc: test_isn_clock` |', '| 1 | a | words |',
           '| 1 | a | b | deviation: too slow for us |',
           '| 1 | a | deviation: too slow for us |\n| 1 | a | deviation: too slow for us |')
    report.check('conformance: notices the bad', [row for row in bad if not problems_of(head + row + '\n')])
    report.check('conformance: lets the good be', problems_of(good))
    report.check('conformance: notices a missing label',
                 [] if len(missing_labels(good)) == len(LABELS) else 'it does not')
    report.finish()


main()
