# SPDX-License-Identifier: MIT
"""A file stays below 40,000 bytes, a function below 70 lines."""
import re

import report

FILE_BYTES = 40000
FUNCTION_LINES = 70
NOT_A_FUNCTION = re.compile(r'\b(namespace|struct|class|union|enum)\b|\bextern\s*""|=\s*$|[=,(\[]\s*$')


def functions(text):
    """(first line, lines) of every function: a brace at class, namespace or file level after a `)`."""
    code = report.code_only(text)
    # Lines of the preprocessor do not count as code, whatever braces they hold.
    code = re.sub(r'^[ \t]*#(?:[^\n\\]|\\.|\\\n)*', lambda m: '\n' * m.group(0).count('\n'), code, flags=re.M)
    kinds, head_at, line, found = [], 0, 1, []
    first_of_list = False
    for at, char in enumerate(code):
        if char == '\n':
            line += 1
        elif char == '{':
            head = code[head_at:at].strip()
            inside = any(kind == 'function' for kind, _ in kinds)
            is_scope = NOT_A_FUNCTION.search(re.sub(r'\([^()]*\)', '()', head)) and not head.endswith(')')
            # An empty head follows `}`: the body after a constructor's list of brace initialisers.
            after_list = not head and code[:at].rstrip().endswith('}') and first_of_list
            kind = 'inner' if inside or (')' not in head or is_scope) and not after_list else 'function'
            first_of_list = ')' in head or after_list or head.startswith(',')
            first = line - code[head_at:at].lstrip().count('\n') if head else line
            kinds.append((kind, first))
        elif char == '}' and kinds:
            kind, first = kinds.pop()
            if kind == 'function':
                found.append((first, line - first + 1))
        if char in '{};':
            head_at = at + 1
    return found


def problems_of(path, text):
    found = []
    if len(text.encode()) >= FILE_BYTES:
        found.append('%s: %d bytes, the limit is %d' % (path, len(text.encode()), FILE_BYTES))
    for first, lines in functions(text):
        if lines >= FUNCTION_LINES:
            found.append('%s:%d: a function of %d lines, the limit is %d' % (path, first, lines, FUNCTION_LINES))
    return found


def sample(lines):
    body = ''.join('    if (x) { y("}"); } // {\n' for _ in range(lines - 2))
    return 'namespace wx {\nstruct T {\n  static int\n  f(int x) {\n%s  }\n};\n} // namespace wx\n' % body


def main():
    files = report.sources('include', 'lib', 'bpf', 'tools', 'examples')
    scripts = report.sources('tools', 'tests/check', kinds=('.py', '.sh'))
    report.check('sizes: %d files' % len(files), [p for f in files for p in problems_of(f, report.read(f))])
    report.check('sizes: %d scripts' % len(scripts), [
        '%s: %d bytes' % (f, len(report.read(f))) for f in scripts if len(report.read(f)) >= FILE_BYTES])
    report.check('sizes: notices a long function', [] if len(problems_of('a', sample(70))) == 1 else ['it does not'])
    report.check('sizes: notices a long function after an initialiser list',
                 [] if problems_of('a', 'S::S(int a) : b{a} {\n' + '  c();\n' * 70 + '}\n') else ['it does not'])
    report.check('sizes: lets 67 lines be', problems_of('a', sample(67)))
    report.check('sizes: notices a long file', [] if problems_of('a', 'x\n' * 20000) else ['it does not'])
    report.finish()


main()
