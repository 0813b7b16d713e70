# SPDX-License-Identifier: MIT
"""include/wsxdp.h compiles alone in every C and C++ mode, pedantically, and holds only what a binding can see."""
import os
import re
import shutil

import report

HEADER = 'include/wsxdp.h'
C_MODES = 'c89 c99 c11 c17'.split()
CXX_MODES = 'c++98 c++03 c++11 c++14 c++17 c++20'.split()
FLAGS = ('-pedantic-errors -Wall -Wextra -Wundef -Wshadow -Wconversion -Werror -fsyntax-only -Iinclude').split()
USE = '#include "wsxdp.h"\n#include "wsxdp.h"\nint use(void);\nint use(void) { wsxdp_event e; e.kind = WSXDP_EVENT_OPEN; ' \
      'return (int)e.kind + WSXDP_E_URL; }\n'


def compilers():
    """(C compiler, C++ compiler) pairs: gcc's and clang's."""
    clang = os.environ.get('CLANG') or ('clang' if shutil.which('clang') else 'clang-14')
    return [('gcc', 'g++'), (clang, clang.replace('clang', 'clang++'))]


def compile_text(compiler, mode, text):
    language = 'c++' if '+' in mode else 'c'
    only_c = [] if language == 'c++' else ['-Wstrict-prototypes', '-Wmissing-prototypes', '-Wc++-compat']
    code, output = report.run(compiler, '-x', language, '-std=' + mode, *FLAGS, *only_c, '-', input=text)
    return [] if code == 0 else output.splitlines()[:5] or ['exit code %d' % code]


def unseen(text):
    """What bindings cannot see."""
    code = report.code_only(text)
    found = ['a function-like macro: ' + name for name in re.findall(r'^\s*#\s*define\s+(\w+\()', code, re.M)]
    found += ['the word ' + word for word in re.findall(r'\b(inline|enum|bool|_Bool|va_list|long|unsigned int)\b', code)]
    found += ['variable arguments'] if '...' in code else []
    found += ['a bit-field: ' + name for name in re.findall(r'\b(\w+)\s*:\s*\d+\s*;', code)]
    return found


def main():
    for c, cxx in compilers():
        for compiler, mode in [(c, m) for m in C_MODES] + [(cxx, m) for m in CXX_MODES]:
            if shutil.which(compiler):
                report.check('header: %s -std=%s' % (compiler, mode), compile_text(compiler, mode, USE))
            else:
                report.skip('header: %s -std=%s' % (compiler, mode), 'no %s' % compiler)
    report.check('header: the compiler notices C99 in C89',
                 [] if compile_text('gcc', 'c89', USE + '// no comment of C89\nint x;') else 'it does not')
    report.check('header: C types only', unseen(report.read(HEADER)))
    report.check('header: notices other things', [
        t for t in ('#define F(x) x', 'static inline int f();', 'int f(int, ...);', 'struct s { int a : 3; };')
        if not unseen(t)])
    undocumented = [name for name in report.public_functions()
                    if not re.search(r'\*/\s*(WSXDP_API[^;]*;\s*)*WSXDP_API[^;]*\b%s\(' % name, report.read(HEADER))]
    report.check('header: every function stands under a comment', undocumented)
    report.finish()


main()
