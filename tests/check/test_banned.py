# SPDX-License-Identifier: MIT
"""lib/ never prints, exits, reads the environment or the wall clock, and has one door to the heap. Looked for in
the sources and, because a macro or a builtin may hide a call, in what the objects ask the linker for."""
import os
import re

import report

BANNED = ('printf fprintf sprintf snprintf vprintf vfprintf vsprintf vsnprintf dprintf vdprintf asprintf vasprintf '
          'puts fputs putchar putc fputc fwrite perror abort exit _exit _Exit quick_exit atexit getenv '
          'secure_getenv setenv putenv assert gettimeofday time localtime localtime_r gmtime ctime rand srand '
          'random srandom drand48 strerror strerror_r signal sigaction sigprocmask '
          'setlocale strtok gethostbyname gethostbyaddr fork vfork system popen '
          'select __assert_fail').split()
HEAP = 'malloc calloc realloc reallocarray free posix_memalign aligned_alloc memalign valloc strdup strndup'.split()
HEAP_HOME = 'lib/base/alloc.cc'
# A thread of the library's own starts with every signal blocked, which needs the caller's mask changed and put
# back around pthread_create; the worker of name resolution is such a thread.
ALLOWED = {}


def calls(names):
    # Not a member (x.free, x->free), not another namespace's, not part of a longer name; `::free(` is the C library's.
    return re.compile(r'(?<![\w.>])(?<!\w::)(%s)\s*\(' % '|'.join(map(re.escape, names)))


DECLARATION = re.compile(r'^[\w\s*&:<>,]*[\w*&>]\s+\**(\w+)\s*\($')
CALL = calls(BANNED)
HEAP_CALL = calls(HEAP)
NEW_DELETE = re.compile(r'(?<![\w.])(new(?!\s*\()\s+\w|delete(\[\])?\s+\w|delete\[\])')


def problems_in_source(path, text):
    found = []
    # std:: is the C library too, so its colons do not excuse a name.
    text = report.code_only(text).replace('std::', '::')
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith('#'):
            continue
        for match in list(CALL.finditer(line)) + ([] if path == HEAP_HOME else list(HEAP_CALL.finditer(line))):
            before = line[:match.end()]
            declared = DECLARATION.match(before) and not re.match(r'\s*(return|else|co_return|throw)\b', before)
            if not declared and match.group(1) not in ALLOWED.get(path, ()):
                found.append('%s:%d: calls %s' % (path, number, match.group(1)))
        if path != HEAP_HOME and NEW_DELETE.search(line):
            found.append('%s:%d: uses new or delete' % (path, number))
    return found


def problems_in_object(path, undefined):
    source = os.path.relpath(path, report.BUILD)[:-2] + '.cc'
    banned = set(BANNED) | {'_Znwm', '_Znam', '_ZdlPv', '_ZdaPv', '_ZdlPvm', '_ZdaPvm', 'stdout', 'stderr',
                            '__printf_chk', '__fprintf_chk', '__snprintf_chk', '__sprintf_chk', '__vsnprintf_chk'}
    banned |= set() if source == HEAP_HOME else set(HEAP)
    return ['%s asks the linker for %s' % (source, name)
            for name in sorted(set(undefined) & banned - set(ALLOWED.get(source, ())))]


def undefined_of(path):
    code, output = report.run('nm', '-u', '--format=posix', path)
    return [line.split()[0] for line in output.splitlines() if line.strip()] if code == 0 else ['nm failed']


def main():
    files = report.sources('lib')
    report.check('banned calls: %d sources' % len(files),
                 [p for f in files for p in problems_in_source(f, report.read(f))])
    objects = report.lib_objects()
    report.check('banned calls: %d objects' % len(objects), [] if objects else 'no objects in %s' % report.BUILD)
    report.check('banned calls: what the objects ask for',
                 [p for o in objects for p in problems_in_object(o, undefined_of(o))])
    bad = ('snprintf(a, 1, "x");', 'if (x) ::abort();', 'auto t = time(nullptr);', 'free(p);', 'T *t = new T;',
           'delete p;', 'std::getenv("X");', 'return malloc(3);')
    report.check('banned calls: notices the bad', [b for b in bad if not problems_in_source('lib/ws/x.cc', b)])
    good = ('// free(p)', 'x.free(p);', 'p->time(1);', 'uint64_t time_ns(int);', 'void free(Context *context);',
            '"malloc(1)";', 'new (memory) T();', 'T(const T &) = delete;', 'deallocate(p);', 'Clock::time(1);')
    report.check('banned calls: lets the good be', [p for g in good for p in problems_in_source('lib/ws/x.cc', g)])
    report.check('banned calls: notices the bad in an object',
                 [] if problems_in_object('%s/lib/ws/x.o' % report.BUILD, ['free', 'read']) else 'it does not')
    report.finish()


main()
