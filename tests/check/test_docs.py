# SPDX-License-Identifier: MIT
"""What the Markdown files say can be done, can be done: files they link to exist, `make` targets they name exist, C
programs in them compile, option names in them are in the library's table."""
import os
import re
import subprocess

import report

TOOL = report.BUILD + '/wsxdp'
ARCHITECTURE_LINES = 200


def targets():
    return set(re.findall(r'^## ([a-z]+) ', report.read('Makefile'), re.M))


def blocks(text, language):
    return re.findall(r'^```%s\n(.*?)^```' % language, text, re.M | re.S)


def prose(text):
    return re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)


def missing_links(path, text):
    names = re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', prose(text))
    return ['%s links to %s' % (path, name) for name in names
            if not os.path.exists(os.path.join(os.path.dirname(path), name))]


def missing_targets(path, text):
    named = re.findall(r'(?:^ {4}|^\$ |`|&& )make ((?:[A-Z]+=\S+ )*[a-z]+)\b', text, re.M)
    return ['%s names make %s' % (path, t) for t in named if t.split()[-1] not in targets()]


def broken_programs(path, text):
    found = []
    for block in blocks(text, 'c'):
        if 'main(' in block:
            code, output = report.run('gcc', '-std=c99', '-Wall', '-Wextra', '-Werror', '-pedantic',
                                      '-Wno-missing-field-initializers', '-Iinclude', '-x', 'c', '-fsyntax-only', '-',
                                      input=block)
            found += ['%s: %s' % (path, line) for line in output.splitlines()[:5]] if code else []
    return found


def option_names():
    done = subprocess.run([TOOL, 'options'], capture_output=True, text=True, check=False)
    return set(re.findall(r'^\s*([a-z][a-z0-9_.*]*)', done.stdout, re.M)) if done.returncode == 0 else set()


def unknown_options(path, text, known):
    used = re.findall(r'-o ([a-z][a-z0-9_.]*)=', text) + re.findall(r'config_set(?:_int|_data)?\(\w+, "([^"]+)"', text)
    return ['%s names the option %s' % (path, name) for name in used
            if name not in known and name.rsplit('.', 1)[0] + '.*' not in known]


def main():
    files = [path for path in report.tracked_files() if path.endswith('.md')]
    texts = {path: report.read(path) for path in files}
    for name, problem in (('links', missing_links), ('make targets', missing_targets), ('C programs', broken_programs)):
        report.check('docs: %s in %d files' % (name, len(files)), [p for f, t in texts.items() for p in problem(f, t)])
    if 'ARCHITECTURE.md' in texts:
        lines = len(texts['ARCHITECTURE.md'].splitlines())
        report.check('docs: ARCHITECTURE.md', [] if lines <= ARCHITECTURE_LINES else '%d lines' % lines)
    known = option_names()
    report.check('docs: the command lists its options', [] if len(known) > 20 else 'only %d in %s' % (len(known), TOOL))
    if known:
        texts.update((path, report.read(path)) for path in report.sources('examples'))
        report.check('docs: option names', [p for f, t in texts.items() for p in unknown_options(f, t, known)])
    report.check('docs: notices what is wrong', [
        name for name, problem in (('link', missing_links('a.md', '[x](nowhere.md)')),
                                   ('target', missing_targets('a.md', 'Run `make coffee`.')),
                                   ('program', broken_programs('a.md', '```c\nint main(void) { return x; }\n```\n')),
                                   ('option', unknown_options('a.md', '-o tls.nothing=1', {'tls.ca_file'})))
        if not problem])
    report.finish()


main()
