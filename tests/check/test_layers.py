# SPDX-License-Identifier: MIT
"""Folders are the architecture: a file in lib/ includes from its own folder and from folders above it."""
import os
import re

import report

LAYERS = 'base wire ring tcp http ws tls media link host ipc pipeline capi'.split()
PUBLIC = 'include/wsxdp.h'
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
# What may be had from the C++ standard library: headers that bring no symbol to link to.
HEADER_ONLY = {'atomic', 'type_traits', 'new', 'utility', 'limits', 'cstddef', 'cstdint', 'cstring', 'bit'}
SYSTEM_CXX = re.compile(r'^\s*#\s*include\s+<([a-z_]+)>', re.M)


def problems_of(path, text):
    own = path.split('/')[1]
    if own not in LAYERS:
        return ['%s: lib/%s is not a layer' % (path, own)]
    found = []
    for name in INCLUDE.findall(text):
        target = os.path.normpath(os.path.join(os.path.dirname(path), name))
        if target == PUBLIC:
            continue
        parts = target.split('/')
        if parts[0] != 'lib' or len(parts) < 3 or parts[1] not in LAYERS:
            found.append('%s includes %s, which is not in lib/' % (path, target))
        elif LAYERS.index(parts[1]) > LAYERS.index(own):
            found.append('%s includes %s: lib/%s is below lib/%s' % (path, target, parts[1], own))
    for name in SYSTEM_CXX.findall(text):
        if name not in HEADER_ONLY:
            found.append('%s includes <%s> of the C++ library' % (path, name))
    return found


def main():
    files = report.sources('lib')
    report.check('layers: %d files' % len(files), [p for f in files for p in problems_of(f, report.read(f))])
    bad = ('lib/http/x.cc', '#include "../ws/frame.h"\n'), ('lib/ws/x.cc', '#include <vector>\n'), \
          ('lib/ws/x.cc', '#  include "../../tests/x.h"\n'), ('lib/odd/x.cc', '')
    report.check('layers: notices the bad', [p for p, t in bad if len(problems_of(p, t)) != 1])
    good = 'lib/ws/x.cc', '#include "../base/bytes.h"\n#include "frame.h"\n#include <new>\n#include <string.h>\n'
    report.check('layers: lets the good be', [p for p in problems_of(*good) if '<string' not in p])
    report.finish()


main()
