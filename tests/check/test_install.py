# SPDX-License-Identifier: MIT
"""An installed copy is all that a program needs: every example builds against it as C99 and as C++, with each linker,
and without the C++ runtime; a shared library and a program with clashing names link as well; uninstall takes all of
it away."""
import glob
import os
import shutil
import tempfile

import report

VARIANT = os.environ.get('VARIANT', 'BUILD=build').split()
LINKERS = ['bfd', 'gold', 'lld']
CLANG = os.environ.get('CLANG') or 'clang-14'
# Names that are the library's own inside: a program may have the same.
CLASH = '''#include <wsxdp.h>
#include <string>
namespace wx { void *allocate(unsigned long n) { return n ? (void *)0 : (void *)1; } void deallocate(void *) {} }
int main() { std::string text = wsxdp_version(); return text.empty() || wx::allocate(0) != (void *)1; }
'''


def make(*arguments):
    environment = {k: v for k, v in os.environ.items() if k != 'BUILD' and not k.startswith('MAKE')}
    code, output = report.run('make', '--no-print-directory', *VARIANT, *arguments, env=environment)
    return [] if code == 0 else output.splitlines()[-10:]


def files_under(folder):
    return sorted(os.path.relpath(path, folder) for path in glob.glob(folder + '/**', recursive=True)
                  if not os.path.isdir(path))


def pkg_config(prefix, *arguments):
    environment = dict(os.environ, PKG_CONFIG_PATH=prefix + '/lib/pkgconfig')
    code, output = report.run('pkg-config', *arguments, 'wsxdp', env=environment)
    return output.split() if code == 0 else ['-pkg-config-failed', output]


def build(compiler, flags, source, target, prefix):
    code, output = report.run(*compiler, *flags, source, '-o', target, *pkg_config(prefix, '--cflags', '--libs'))
    return [] if code == 0 else ['%s: %s' % (' '.join(compiler + flags), line) for line in output.splitlines()[:8]]


def check_examples(prefix, folder):
    examples = sorted(glob.glob('examples/c/*.c'))
    strict = ['-Wall', '-Wextra', '-Werror', '-pedantic']
    for linker in LINKERS:
        if not shutil.which('ld.' + linker):
            report.skip('install: examples with ' + linker, 'no ld.' + linker)
            continue
        use = ['-fuse-ld=' + linker]
        problems = []
        for source in examples:
            target = '%s/%s-%s' % (folder, os.path.basename(source)[:-2], linker)
            problems += build(['gcc'], ['-std=c99'] + strict + use, source, target, prefix)
            problems += build(['g++', '-x', 'c++'], ['-std=c++98'] + strict + use, source, target + '-cxx', prefix)
        report.check('install: %d examples with %s' % (len(examples), linker), problems)
        for name in ('echo_offline-' + linker, 'echo_offline-' + linker + '-cxx'):
            code, output = report.run(folder + '/' + name, timeout=20) if not problems else (1, 'not built')
            report.check('install: %s runs' % name, [] if code == 0 else 'exit code %d: %s' % (code, output))
    report.check('install: an example with clang',
                 build([CLANG], ['-std=c99'] + strict, 'examples/c/minimal.c', folder + '/clang', prefix))


def check_linking(prefix, folder):
    program = folder + '/plain'
    report.check('install: cc links without -lstdc++', build(['gcc'], [], 'examples/c/minimal.c', program, prefix))
    loaded = report.run('ldd', program)[1]
    report.check('install: the program loads no C++ runtime', [
        line.strip() for line in loaded.splitlines() if 'libstdc++' in line or 'libgcc_s' in line or 'not found' in line])
    report.check('install: ldd was asked', [] if 'libc.so' in loaded else loaded)
    with open(folder + '/clash.cc', 'w', encoding='utf-8') as file:
        file.write(CLASH)
    for linker in LINKERS:
        if shutil.which('ld.' + linker):
            target = '%s/clash-%s' % (folder, linker)
            problems = build(['g++'], ['-fuse-ld=' + linker], folder + '/clash.cc', target, prefix)
            report.check('install: names inside stay inside, ' + linker,
                         problems or ([] if report.run(target)[0] == 0 else 'the program fails'))
    libs = pkg_config(prefix, '--libs')
    whole = ['-Wl,--whole-archive', prefix + '/lib/libwsxdp.a', '-Wl,--no-whole-archive']
    for linker in filter(lambda name: shutil.which('ld.' + name), LINKERS):
        code, output = report.run('gcc', '-shared', '-fuse-ld=' + linker, '-Wl,-z,defs', '-o', folder + '/all.so', *whole,
                                  *[flag for flag in libs if flag != '-lwsxdp'])
        report.check('install: fits into a shared library, ' + linker, output.splitlines()[:5] if code else [])


def check_pkg_config(prefix):
    libs = pkg_config(prefix, '--libs')
    report.check('install: no -Wl in pkg-config --libs', [flag for flag in libs if flag.startswith('-Wl')])
    report.check('install: pkg-config names all libraries without --static', [
        flag for flag in ('-lwsxdp', '-lpthread', '-lz') if flag not in libs])
    version = [word for word in report.read('include/wsxdp.h').split('\n') if 'define WSXDP_VERSION_' in word]
    report.check('install: version in wsxdp.pc', [] if '.'.join(line.split()[-1] for line in version) ==
                 ''.join(pkg_config(prefix, '--modversion')) else 'it is not the header\'s')


def check_staged(folder):
    """DESTDIR: what a packager sees."""
    stage = folder + '/stage'
    other = stage + '/opt/x/bin/other'
    os.makedirs(os.path.dirname(other))
    open(other, 'w', encoding='utf-8').close()
    report.check('install: into DESTDIR', make('install', 'DESTDIR=' + stage, 'PREFIX=/opt/x'))
    have = files_under(stage)
    wanted = ['opt/x/include/wsxdp.h', 'opt/x/lib/libwsxdp.a', 'opt/x/lib/pkgconfig/wsxdp.pc']
    report.check('install: what it puts there', [path for path in wanted if path not in have])
    report.check('install: DESTDIR is not in wsxdp.pc',
                 [] if folder not in report.read(stage + '/opt/x/lib/pkgconfig/wsxdp.pc') else 'it is')
    report.check('uninstall: from DESTDIR', make('uninstall', 'DESTDIR=' + stage, 'PREFIX=/opt/x'))
    report.check('uninstall: leaves nothing but what others put there',
                 [path for path in files_under(stage) if path != 'opt/x/bin/other'] +
                 ([] if os.path.exists(other) else ['somebody else\'s file is gone']))


def main():
    with tempfile.TemporaryDirectory() as folder:
        prefix = folder + '/prefix'
        report.check('install: into a prefix', make('install', 'PREFIX=' + prefix))
        if os.path.exists(prefix + '/lib/libwsxdp.a'):
            check_pkg_config(prefix)
            check_examples(prefix, folder)
            check_linking(prefix, folder)
        check_staged(folder)
    report.finish()


main()
