# wsxdp: reads top to bottom. `make help` lists the targets and the switches.
# A new source, test, fuzz target, benchmark or example is a new file in its folder and nothing else.

# ---- switches ---------------------------------------------------------------------------------
## SAN=address,undefined | SAN=thread    build with sanitizers, into a directory of its own
SAN ?=
## DEBUG=1                               no optimisation, into a directory of its own
DEBUG ?=
## TLS=openssl | TLS=none                which TLS library; none refuses wss://
TLS ?= openssl
## XDP=libbpf | XDP=none                 whether transport=xdp is in; none where libbpf, libxdp or clang is missing
XDP ?=
## PREFIX=/usr/local DESTDIR= LIBDIR=    where install and uninstall work
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
## BUILD=build                           where everything that is made goes
BUILD ?= build
## V=1                                   show the commands
V ?=
## SEED=1                                of the tests that draw random input; SEED=random draws one
SEED ?= 1
## SEEDS=1000000                         sim, and the tests of the simulation: how many seeds
SEEDS ?=
## ONLY=TEXT                             test: run only programs whose path contains TEXT
ONLY ?=
## TARGET=NOUN SECONDS=60                fuzz: which target, and how long each
TARGET ?=
SECONDS ?= 60
## SOAK=1200                             endurance: how long, in seconds
SOAK ?= 1200
## ROUNDS=500                            endurance: how often a helper process is killed, stopped, misled
ROUNDS ?= 500
## STAGE=PREFIX/libexec/wsxdp-stage      where the library looks for its helper unless stage.path says
STAGE ?=
## CC= CXX= CLANG= PYTHON= CXXFLAGS=     the tools, and flags added to ours
CLANG ?= clang$(CLANG_VERSION)
PYTHON ?= /usr/bin/python3

# ---- tools ------------------------------------------------------------------------------------
# `undefined` inside a make that this one started: its built-in variables are off.
ifneq ($(filter default undefined,$(origin CC)),)
CC := gcc
endif
ifneq ($(filter default undefined,$(origin CXX)),)
CXX := g++
endif
LD := ld
OBJCOPY ?= objcopy
PKG_CONFIG ?= pkg-config
# Debian's unversioned clang is a package of its own; the versioned one is what tools/deps installs.
CLANG_VERSION := $(if $(shell command -v clang 2>/dev/null),,-14)
CLANG_TIDY = $(shell command -v clang-tidy || echo clang-tidy-14)
LLVM_STRIP := $(shell command -v llvm-strip || echo llvm-strip-14)

# All cores unless -j says otherwise; a make inside a make shares the outer one's.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-builtin-rules --no-builtin-variables
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/sh
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

# ---- XDP --------------------------------------------------------------------------------------
# An override, since XDP= on the command line means the same as none given. What was found has no directory of its
# own, so that `make demo` that installs the packages first knows where things will be; the flags tell the objects.
xdp_asked := $(XDP)
ifeq ($(XDP),)
override XDP := $(shell $(PKG_CONFIG) --exists libbpf libxdp 2>/dev/null && command -v $(LLVM_STRIP) >/dev/null && \
    echo | $(CLANG) -target bpf -x c -c - -o /dev/null 2>/dev/null && echo libbpf || echo none)
endif
ifeq ($(filter $(XDP),libbpf none),)
$(error XDP=$(XDP) is not a way to XDP of this build; use XDP=libbpf or XDP=none)
endif

# ---- variants ---------------------------------------------------------------------------------
# SAN=fuzzer is used by `make fuzz`: clang's coverage with both address and undefined.
comma := ,
variant := $(if $(DEBUG),-debug)$(if $(filter-out openssl,$(TLS)),-tls-$(TLS))$(if $(filter none,$(xdp_asked)),-xdp-none)
OUT := $(BUILD)$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(variant)
ifeq ($(SAN),fuzzer)
override CXX := $(subst clang,clang++,$(CLANG))
sanitize := -fsanitize=address,undefined,fuzzer-no-link
else
sanitize := $(if $(SAN),-fsanitize=$(SAN))
endif
ifneq ($(SAN),)
sanitize += -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ifeq ($(filter $(TLS),openssl none),)
$(error TLS=$(TLS) is not a TLS library of this build; use TLS=openssl or TLS=none)
endif

stage_path := $(if $(STAGE),$(STAGE),$(PREFIX)/libexec/wsxdp-stage)
VERSION := $(shell sed -n 's/^\#define WSXDP_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' include/wsxdp.h | paste -sd.)

# ---- flags ------------------------------------------------------------------------------------
warnings := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
# Compiling is half of a test run: tests, and what is instrumented but not fuzzed, make do with -O1 and line numbers;
# tests that wait for others more than they compute with -O0, which halves it again.
quick := -O1 -g1
waiting := -O0 -g1
optimise := $(if $(DEBUG),-O0 -g3 -DWSXDP_DEBUG=1,$(if $(filter-out fuzzer,$(SAN)),$(quick),-O2 -g))
tls_flags := $(if $(filter none,$(TLS)),-DWSXDP_TLS_NONE=1,-DWSXDP_TLS_OPENSSL=1)
xdp_flags := $(if $(filter none,$(XDP)),-DWSXDP_XDP_NONE=1,-DWSXDP_XDP_LIBBPF=1)
# Paths in debug information are relative, so that two checkouts build the same archive.
common := $(optimise) $(sanitize) -fPIC -ffile-prefix-map=$(CURDIR)=. $(tls_flags) $(xdp_flags) -MMD -MP
no_gnu_unique := $(if $(findstring clang,$(CXX)),,-fno-gnu-unique)
# gcc's guess, which instrumented code and Beast's headers mislead; and its notice that the race detector does not
# see fences, which only means that what rests on one needs an atomic as well.
no_maybe := $(if $(findstring clang,$(CXX)),,-Wno-maybe-uninitialized -Wno-tsan)
# Exactly what keeps the C++ runtime out of the archive and every name but the public ones hidden.
lib_flags := -std=c++17 $(warnings) $(if $(SAN),$(no_maybe)) $(common) -fvisibility=hidden -fvisibility-inlines-hidden $(no_gnu_unique) \
             -fno-exceptions -fno-rtti -fno-threadsafe-statics -ffunction-sections -fdata-sections
host_flags := -std=c++17 $(warnings) $(common) -pthread
c_flags := -std=c99 -Wall -Wextra -pedantic $(optimise) $(sanitize) -MMD -MP
# Tests and benchmarks use other libraries' headers (Beast), whose warnings are not ours to mend.
test_flags := -std=c++17 -Wall -Wextra -Wshadow $(no_maybe) $(common) -pthread
xdp_libs := $(if $(filter libbpf,$(XDP)),-lxdp -lbpf)
packages := $(if $(filter openssl,$(TLS)),openssl) zlib $(if $(xdp_libs),libxdp libbpf)
link_libs := $(if $(filter openssl,$(TLS)),-lssl -lcrypto) $(xdp_libs) -lz -pthread
# Of the helper alone: nothing that links the archive needs it.
stage_libs := -lseccomp
test_libs := -lcmocka -lssl -lcrypto $(xdp_libs) -lz -pthread
# BTF is made from the debug information. <asm/types.h> lies where only the host's compiler looks.
bpf_flags := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -ffile-prefix-map=$(CURDIR)=. -fdebug-compilation-dir=. \
             -idirafter /usr/include/$(shell uname -m)-linux-gnu

# ---- sources ----------------------------------------------------------------------------------
lib_dirs := base wire ring tcp http ws tls media link host ipc pipeline capi
other_tls := $(patsubst %,lib/tls/%*.cc,$(filter-out $(TLS),openssl none))
other_xdp := $(filter-out $(if $(filter none,$(XDP)),%/program_none.cc),$(wildcard lib/link/xdp/program*.cc))
other_xdp := $(if $(filter none,$(XDP)),$(other_xdp),lib/link/xdp/program_none.cc)
lib_sources := $(filter-out $(wildcard $(other_tls)) $(other_xdp),$(foreach d,$(lib_dirs),$(wildcard lib/$(d)/*.cc lib/$(d)/*/*.cc)))
tool_sources := $(wildcard tools/wsxdp/*.cc)
stage_sources := $(wildcard tools/wsxdp-stage/*.cc)
support_sources := $(wildcard tests/support/*.cc)
# Programs that are all about TLS are not made without it; single cases say TLS_TEST.
tls_tests := $(filter-out tests/tls/test_none.cc,$(wildcard tests/tls/test_*.cc)) \
             $(patsubst %,tests/pipeline/test_%.cc,tls_connect early_data redirect_race)
# The same for those that need the XDP program: all of tests/xdp but these.
xdp_tests := $(filter-out $(patsubst %,tests/xdp/test_%.cc,veth steering umem xsk xsk_open xsk_rings no_program),\
             $(wildcard tests/xdp/test_*.cc))
test_sources := $(filter-out $(if $(filter none,$(TLS)),$(tls_tests)) $(if $(filter none,$(XDP)),$(xdp_tests)),$(wildcard tests/*/test_*.cc))
# Servers to test against, and what runs longer than a test may, are programs of their own.
helper_sources := $(filter-out $(support_sources),$(wildcard tests/*/*_server.cc tests/*/*_runner.cc bench/*_server.cc))
fuzz_sources := $(wildcard fuzz/fuzz_*.cc)
bench_sources := $(wildcard bench/bench_*.cc)
bench_support := $(filter-out $(bench_sources) $(helper_sources),$(wildcard bench/*.cc))
example_sources := $(wildcard examples/c/*.c)
script_tests := $(wildcard tests/*/test_*.sh tests/*/test_*.py)
check_tests := $(filter tests/check/%,$(script_tests))

object = $(patsubst %,$(OUT)/%.o,$(basename $(1)))
program = $(patsubst %,$(OUT)/%,$(basename $(1)))
lib_objects := $(call object,$(lib_sources))
tool_objects := $(call object,$(tool_sources))
stage_objects := $(call object,$(stage_sources))
support_objects := $(call object,$(support_sources))
# Neither compiled nor run with ASan: they wait for interfaces and peers, and what they run of the library others run.
unwatched := $(patsubst %,tests/xdp/test_%.cc,bridge checksums exhaustion fallback helper killed lost_neighbor many \
                 notice occupied outage permissions priority program queues recovery soak spinning tuning xsk_open) \
             $(wildcard tests/live/*.cc)
watched = $(if $(filter address%,$(SAN)),$(filter-out $(unwatched),$(1)),$(1))
tests := $(call program,$(call watched,$(test_sources)))
helpers := $(call program,$(helper_sources))
examples := $(call program,$(example_sources))
benches := $(call program,$(bench_sources))
replays := $(patsubst fuzz/fuzz_%.cc,$(OUT)/fuzz/replay_%,$(fuzz_sources))
fuzzers := $(patsubst fuzz/%.cc,$(OUT)/fuzz/%,$(fuzz_sources))
# Programs worth a race detector: those with a second thread in them; it sees nothing of other processes.
single := %/test_model %/test_simulated %/test_process %/test_chaos %/test_last_words %/test_spawning %/test_stage_options \
          %/test_admission
threaded := $(filter-out $(single),$(filter $(addprefix $(OUT)/tests/,ring/% link/test_poller xdp/test_bridge host/% \
                pipeline/% capi/%),$(tests)))

# What runs again with the stages elsewhere; the others look into a handle, need none or say so.
placed := $(filter-out %/test_simulated %/test_spinning %/test_settings %/test_options %/test_redirect_race %/test_process \
              %/test_chaos %/test_last_words %/test_spawning %/test_stage_options %/test_admission %/test_relay,\
              $(filter $(OUT)/tests/pipeline/%,$(tests)))
# And a few with rx, tls and tx apart, which test_relay looks into.
relayed := $(filter %/test_backpressure %/test_closing %/test_many %/test_reconnecting %/test_sending %/test_timeouts \
                    %/test_tls_connect %/test_unix_socket,$(placed))
# With the stages in threads of their own the race detector sees all that it sees without, but for who calls in.
twice := $(filter-out %/test_threads %/test_senders %/test_waiting %/test_resolving,$(placed))
# What stands in for the system in this process is not in theirs.
afar := $(filter-out %/test_resolving %/test_watching %/test_placement,$(placed))
# Of transport=xdp those that have a handle, leave its inside alone and count neither kicks nor frames exactly, since who
# looks and who sends are two then; in one thread a few, since the stages are the same.
placed_xdp := $(filter $(addprefix %/test_,checksums cycles exhaustion fallback many mtu notice occupied opening paths \
                peer_gone permissions queues sharing volume),$(filter $(OUT)/tests/xdp/%,$(tests)))
folded_xdp := $(filter %/test_opening %/test_spinning %/test_peer_gone %/test_sharing,$(filter $(OUT)/tests/xdp/%,$(tests)))
# In a process: root's children have all capabilities again, and may not name others' programs.
afar_xdp := $(filter-out $(addprefix %/test_,cycles fallback occupied permissions),$(placed_xdp))
# With the nic in a place of its own.
placed_nic := $(filter %/test_opening %/test_volume %/test_paths %/test_cycles %/test_exhaustion %/test_peer_gone,\
                  $(filter $(OUT)/tests/xdp/%,$(tests)))
in = $(addprefix $(1)$(comma),$(2))

# ---- targets ----------------------------------------------------------------------------------
.PHONY: all demo test unit sim endurance bench fuzz install uninstall examples format tidy compdb dist clean help deps \
        features programs test-programs thread-programs fuzz-programs FORCE

## all         the archive and the command, then a table of what was found
all: programs | features

## demo        live messages over verified TLS from a simulated exchange, for some seconds
demo: deps-demo
	$(Q)$(MAKE) --no-print-directory programs
	$(Q)BUILD='$(OUT)' PYTHON='$(PYTHON)' tools/demo

## test        everything that is checked; installs missing Debian packages first
test: deps-test
	$(Q)$(MAKE) --no-print-directory SAN= programs test-programs examples
	$(Q)$(MAKE) --no-print-directory SAN=address,undefined test-programs fuzz-programs
	$(Q)$(MAKE) --no-print-directory SAN=thread thread-programs
	$(Q)$(MAKE) --no-print-directory SAN= run-tests

## unit        only the unit tests of this variant: quick while writing code (ONLY=ws, SAN=thread)
unit_tests = $(foreach t,$(tests),$(if $(findstring $(ONLY),$(t)),$(t)))
unit: $(if $(ONLY),$(unit_tests),test-programs)
	$(Q)$(runner) $(tests)

## sim         userspace TCP over random networks: SEEDS=N of them from SEED on, or the one of SEED with a trace
simulation := $(OUT)/tests/tcp/simulation_runner
sim: $(simulation)
	$(Q)$(simulation) --seed '$(SEED)' $(if $(SEEDS),--seeds '$(SEEDS)',--capture $(OUT)/sim_$(SEED).pcap)

## endurance   over time: one, two and three helper processes through ROUNDS=500 troubles each; transport=xdp: a
##             gibibyte over a rough network, 10,000 connections, SOAK=1200 seconds of stalls
endurance := $(OUT)/tests/xdp/endurance_runner
chaos := $(OUT)/tests/pipeline/chaos_runner
endurance: $(endurance) $(chaos) $(OUT)/wsxdp-stage
	$(Q)for way in '' apart xdp; do WSXDP_SEED='$(SEED)' $(chaos) chaos '$(ROUNDS)' $$way || exit 1; done
	$(Q)$(endurance) volume 1073741824
	$(Q)$(endurance) cycles 10000
	$(Q)$(endurance) soak '$(SOAK)'

## bench       benchmarks: a table, and JSON beside it
bench: deps-bench
	$(Q)$(MAKE) --no-print-directory programs bench-programs
	$(Q)BUILD='$(OUT)' PYTHON='$(PYTHON)' bench/run

## fuzz        libFuzzer on each target, starting from its corpus (TARGET=url SECONDS=600)
fuzz: deps-test
	$(Q)$(MAKE) --no-print-directory SAN=fuzzer run-fuzzers

## examples    the programs in examples/c
examples: $(examples)

.PHONY: deps-demo deps-test deps-bench deps-tidy bench-programs run-tests run-fuzzers
deps-demo deps-test deps-bench deps-tidy: deps-%:
	$(Q)sh tools/deps $*

## deps        install the Debian packages that building, testing and benchmarking need
deps: deps-bench

programs: $(OUT)/libwsxdp.a $(OUT)/wsxdp $(OUT)/wsxdp-stage
test-programs: $(tests) $(OUT)/wsxdp-stage $(if $(SAN),,$(helpers))
thread-programs: $(threaded) $(OUT)/wsxdp-stage
fuzz-programs: $(replays)
bench-programs: $(benches) $(helpers)

# ---- running ----------------------------------------------------------------------------------
# VARIANT is for the tests that call make themselves; it keeps what is built as it is, whatever PREFIX they give.
runner := BUILD='$(OUT)' PYTHON='$(PYTHON)' CC='$(CC)' CXX='$(CXX)' CLANG='$(CLANG)' \
          VARIANT='BUILD=$(BUILD) DEBUG=$(DEBUG) TLS=$(TLS) XDP=$(xdp_asked) STAGE=$(stage_path) CC=$(CC) CXX=$(CXX)' $(PYTHON) tests/run.py \
          --seed='$(SEED)' --only='$(ONLY)'
sanitized = $(patsubst $(OUT)/%,$(BUILD)-$(1)$(variant)/%,$(2))

run-tests:
	$(Q)$(runner) $(check_tests) $(tests) \
	    $(call sanitized,address-undefined,$(replays) $(filter-out $(call program,$(unwatched)),$(tests))) \
	    $(call sanitized,thread,$(filter-out $(twice),$(threaded))) \
	    $(call in,threads,$(call sanitized,thread,$(placed))) \
	    $(call in,thread,$(folded_xdp)) $(call in,threads,$(placed_xdp)) \
	    $(call in,processes,$(afar) $(afar_xdp)) \
	    $(call in,threads,$(filter %/test_echo_servers.py %/test_xdp_servers.py,$(script_tests))) \
	    $(call in,processes,$(filter %/test_echo_servers.py %/test_xdp_ways.py,$(script_tests))) \
	    $(call in,rxws,$(call sanitized,thread,$(relayed))) \
	    $(call in,rxtx,$(call sanitized,thread,$(filter %/test_closing %/test_many %/test_tls_connect,$(relayed)))) \
	    $(call in,tlstx,$(filter %/test_backpressure %/test_tls_connect,$(relayed))) \
	    $(call in,fold,$(filter %/test_closing %/test_sending,$(relayed))) \
	    $(call in,rx,$(filter %/test_keepalive %/test_watching %/test_proxies %/test_eyeballs,$(placed))) \
	    $(call in,nic,$(filter %/test_opening %/test_volume,$(placed_nic))) \
	    $(call in,nicws,$(placed_nic)) \
	    $(call in,nicprocess,$(filter %/test_opening %/test_volume %/test_paths,$(placed_nic))) \
	    $(call in,process,$(filter %/test_many %/test_reconnecting %/test_tls_connect,$(afar))) \
	    $(filter-out $(check_tests),$(script_tests))

run-fuzzers: $(if $(TARGET),$(OUT)/fuzz/fuzz_$(TARGET),$(fuzzers))
	$(Q)for program in $^; do \
	    noun=$${program##*/fuzz_}; found=$(OUT)/fuzz/found_$$noun; mkdir -p $$found fuzz/corpus/$$noun; \
	    echo "  FUZZ    $$noun, $(SECONDS) s"; log=$(OUT)/fuzz/log_$$noun; \
	    setarch -R $$program -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	        -seed=$(if $(filter random,$(SEED)),0,$(SEED)) -artifact_prefix=$(OUT)/fuzz/crash_$$noun- \
	        $$found fuzz/corpus/$$noun > $$log 2>&1 || { tail -n 40 $$log; exit 1; }; \
	    sed -n 's/^stat::\(number_of_executed_units\|average_exec_per_sec\|new_units_added\): */          \1 /p' $$log; \
	done

# ---- the archive ------------------------------------------------------------------------------
# One object, so that internal names can be made local; section groups are dissolved first, because a
# group whose signature became local breaks gold and lld. Everything here is deterministic.
$(OUT)/libwsxdp.a: $(lib_objects) lib/capi/exports.txt
	$(call say,AR,$@)$(LD) -r --force-group-allocation -o $(OUT)/wsxdp-all.o $(lib_objects) && \
	$(OBJCOPY) --keep-global-symbols=lib/capi/exports.txt $(OUT)/wsxdp-all.o $(OUT)/wsxdp.o && \
	rm -f $@ $(OUT)/wsxdp-all.o && ar rcsD $@ $(OUT)/wsxdp.o

# For tests, which look inside: every object with its names. An archive, so that a test links what it uses.
$(OUT)/internal.a: $(lib_objects) $(support_objects)
	$(call say,AR,$@)rm -f $@ && ar rcsDT $@ $^

# ---- compiling --------------------------------------------------------------------------------
# Objects depend on this file, which changes only when the compiler or the flags do.
flags_now := $(CXX) $(CC) $(lib_flags) $(host_flags) $(test_flags) $(CXXFLAGS) $(CFLAGS)
$(OUT)/flags: FORCE
	@mkdir -p $(OUT); echo '$(flags_now)' | cmp -s - $@ || echo '$(flags_now)' > $@

$(OUT)/lib/%.o: lib/%.cc $(OUT)/flags
	$(call say,CXX,$<)mkdir -p $(@D) && $(CXX) $(lib_flags) $(CXXFLAGS) -c $< -o $@
$(OUT)/tools/%.o: tools/%.cc $(OUT)/flags
	$(call say,CXX,$<)mkdir -p $(@D) && $(CXX) $(host_flags) -Iinclude $(CXXFLAGS) -c $< -o $@
waits = $(filter tests/pipeline/% tests/xdp/test_% tests/live/% tests/tls/% tests/host/% tests/link/% tests/http/% tests/support/%,$(1))
$(OUT)/tests/%.o: tests/%.cc $(OUT)/flags
	$(call say,CXX,$<)mkdir -p $(@D) && $(CXX) $(test_flags) $(if $(DEBUG),,$(if $(call waits,$<),$(waiting),$(quick))) $(CXXFLAGS) -c $< -o $@
$(OUT)/bench/%.o: bench/%.cc $(OUT)/flags
	$(call say,CXX,$<)mkdir -p $(@D) && $(CXX) $(test_flags) $(CXXFLAGS) -c $< -o $@
$(OUT)/fuzz/%.o: fuzz/%.cc $(OUT)/flags
	$(call say,CXX,$<)mkdir -p $(@D) && $(CXX) $(test_flags) $(CXXFLAGS) -c $< -o $@
$(OUT)/examples/%.o: examples/%.c $(OUT)/flags
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(c_flags) -Iinclude $(CFLAGS) -c $< -o $@

# Where the helper is looked for unless an option says otherwise: known to two objects, which change with it.
$(OUT)/lib/pipeline/processes.o $(OUT)/tools/wsxdp/doctor_helper.o: $(OUT)/stage_path
$(OUT)/lib/pipeline/processes.o: lib_flags += -DWSXDP_STAGE_PATH='"$(stage_path)"'
$(OUT)/tools/wsxdp/doctor_helper.o: host_flags += -DWSXDP_STAGE_PATH='"$(stage_path)"'
$(OUT)/stage_path: FORCE
	@mkdir -p $(OUT); echo '$(stage_path)' | cmp -s - $@ || echo '$(stage_path)' > $@

# Two XDP programs from one source; what embeds them finds them by the assembler's search path.
bpf_objects := $(OUT)/bpf/filter.o $(OUT)/bpf/filter_stamps.o
$(bpf_objects): bpf/filter.bpf.c lib/link/xdp/filter_abi.h $(OUT)/bpf/flags
	$(call say,BPF,$@)$(CLANG) $(bpf_flags) $(if $(findstring stamps,$@),-DNIC_TIMESTAMPS=1) -c $< -o $@ && \
	$(LLVM_STRIP) -g $@
$(OUT)/bpf/flags: FORCE
	@mkdir -p $(@D); echo '$(CLANG) $(bpf_flags)' | cmp -s - $@ || echo '$(CLANG) $(bpf_flags)' > $@
$(OUT)/lib/link/xdp/program_image.o: $(bpf_objects)
$(OUT)/lib/link/xdp/program_image.o: lib_flags += -Wa,-I$(OUT)/bpf

# ---- linking ----------------------------------------------------------------------------------
# The command looks inside, too (wsxdp doctor): it takes the objects and not the archive whose names are hidden.
$(OUT)/parts.a: $(lib_objects)
	$(call say,AR,$@)rm -f $@ && ar rcsDT $@ $^
$(OUT)/wsxdp: $(tool_objects)
$(OUT)/wsxdp-stage: $(stage_objects)
$(OUT)/wsxdp-stage: link_libs += $(stage_libs)
$(OUT)/wsxdp $(OUT)/wsxdp-stage: $(OUT)/parts.a
	$(call say,LINK,$@)$(CXX) $(sanitize) $(LDFLAGS) -o $@ $(filter %.o,$^) $(OUT)/parts.a $(link_libs)

# A test that needs more of the linker says so in a line of its own: `// link: -Wl,--wrap=recv`.
extra_link = $(shell sed -n 's,^// link: ,,p' $(1))
$(tests) $(helpers): %: %.o $(OUT)/internal.a
	$(call say,LINK,$@)$(CXX) $(sanitize) $(LDFLAGS) -o $@ $^ $(call extra_link,$(@:$(OUT)/%=%.cc)) $(test_libs)
$(replays): $(OUT)/fuzz/replay_%: $(OUT)/fuzz/fuzz_%.o $(OUT)/fuzz/replay.o $(OUT)/internal.a
	$(call say,LINK,$@)$(CXX) $(sanitize) $(LDFLAGS) -o $@ $^ $(link_libs)
$(fuzzers): %: %.o $(OUT)/internal.a
	$(call say,LINK,$@)$(CXX) -fsanitize=address,undefined,fuzzer $(LDFLAGS) -o $@ $^ $(link_libs)
$(benches): %: %.o $(call object,$(bench_support)) $(OUT)/internal.a
	$(call say,LINK,$@)$(CXX) $(sanitize) $(LDFLAGS) -o $@ $^ $(call extra_link,$(@:$(OUT)/%=%.cc)) $(test_libs) -ldl
$(examples): %: %.o $(OUT)/libwsxdp.a
	$(call say,LINK,$@)$(CC) $(sanitize) $(LDFLAGS) -o $@ $^ $(link_libs)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
.SECONDARY:

# ---- installing -------------------------------------------------------------------------------
$(OUT)/wsxdp.pc: pkgconfig/wsxdp.pc.in include/wsxdp.h FORCE
	@mkdir -p $(OUT)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))|' \
	     -e 's|@VERSION@|$(VERSION)|' -e 's|@PACKAGES@|$(strip $(packages))|' $< > $@

man_pages := $(wildcard tools/wsxdp/*.1)
installed = $(PREFIX)/include/wsxdp.h $(LIBDIR)/libwsxdp.a $(LIBDIR)/pkgconfig/wsxdp.pc $(PREFIX)/share/doc/wsxdp/LICENSE \
            $(PREFIX)/bin/wsxdp $(PREFIX)/libexec/wsxdp-stage $(patsubst %,$(PREFIX)/share/man/man1/%,$(notdir $(man_pages)))

## install     header, archive, wsxdp.pc, command, helper and man page into DESTDIR and PREFIX
install: programs $(OUT)/wsxdp.pc
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))set -e; \
	put() { install -d "$(DESTDIR)$$3" && install -m $$1 $$2 "$(DESTDIR)$$3"; }; \
	put 644 include/wsxdp.h $(PREFIX)/include; \
	put 644 $(OUT)/libwsxdp.a $(LIBDIR); \
	put 644 $(OUT)/wsxdp.pc $(LIBDIR)/pkgconfig; \
	put 644 LICENSE $(PREFIX)/share/doc/wsxdp; \
	put 755 $(OUT)/wsxdp $(PREFIX)/bin; \
	put 755 $(OUT)/wsxdp-stage $(PREFIX)/libexec; \
	$(if $(man_pages),put 644 "$(man_pages)" $(PREFIX)/share/man/man1;)

## uninstall   take all of that away again
uninstall:
	$(call say,REMOVE,$(DESTDIR)$(PREFIX))rm -f $(addprefix $(DESTDIR),$(installed)) && \
	if [ -d $(DESTDIR)$(PREFIX)/share/doc/wsxdp ]; then rmdir --ignore-fail-on-non-empty $(DESTDIR)$(PREFIX)/share/doc/wsxdp; fi

# ---- looking after the sources ----------------------------------------------------------------
cxx_files = $(shell find include lib bpf tools tests fuzz bench examples -name '*.h' -o -name '*.cc' -o -name '*.c')

## format      clang-format over all C and C++
format:
	$(Q)clang-format -i $(cxx_files)

## tidy        clang-tidy over the library
tidy: deps-tidy
	$(Q)printf '%s\n' $(lib_sources) | xargs -P $$(nproc) -n 1 sh -c '$(CLANG_TIDY) --quiet --warnings-as-errors="*" \
	    --checks="-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result,-bugprone-assignment-in-if-condition,clang-analyzer-*" \
	    "$$0" -- -std=c++17 $(tls_flags) $(xdp_flags) -fno-exceptions -fno-rtti'

## compdb      compile_commands.json for editors
compdb:
	$(Q){ echo '['; comma=; \
	for f in $(lib_sources); do printf '%s{"directory":"$(CURDIR)","file":"%s","command":"$(CXX) $(lib_flags) -c %s"}\n' \
	    "$$comma" $$f $$f; comma=,; done; \
	for f in $(tool_sources) $(stage_sources) $(support_sources) $(test_sources) $(helper_sources) $(fuzz_sources) $(bench_sources); do \
	    printf ',{"directory":"$(CURDIR)","file":"%s","command":"$(CXX) $(test_flags) -Iinclude -c %s"}\n' $$f $$f; done; \
	echo ']'; } > compile_commands.json

## dist        dist/wsxdp-VERSION.tar.gz of the last commit
dist:
	$(Q)mkdir -p dist && git archive --prefix=wsxdp-$(VERSION)/ HEAD | gzip -9n > dist/wsxdp-$(VERSION).tar.gz
	@echo dist/wsxdp-$(VERSION).tar.gz

## clean       remove what was made, all variants
clean:
	$(Q)rm -rf $(BUILD) $(BUILD)-address* $(BUILD)-thread* $(BUILD)-fuzzer* $(BUILD)-debug* $(BUILD)-tls* $(BUILD)-xdp* $(OUT) dist compile_commands.json

## help        this list
help:
	@echo 'Targets:'; sed -n 's/^## \([a-z]* .*\)/  \1/p' Makefile
	@echo 'Switches:'; sed -n 's/^## \([A-Z]*=.*\)/  \1/p' Makefile

version_of = $(shell $(PKG_CONFIG) --modversion $(1) 2>/dev/null || echo missing)
first_line = $(shell $(1) 2>/dev/null | head -n 1)
unused_xdp = $(if $(filter none,$(XDP)),$(comma) not used in this build)
features: programs
	@row() { printf '  %-14s %s\n' "$$1" "$${2:-missing}"; }; \
	row version '$(VERSION)'; \
	row TLS '$(if $(filter none,$(TLS)),none (wss:// is refused),openssl $(call version_of,openssl))'; \
	row zlib '$(call version_of,zlib)'; \
	row liburing '$(call version_of,liburing)$(comma) not used in this build'; \
	row XDP '$(if $(filter none,$(XDP)),none (transport=xdp is refused),libbpf)'; \
	row libxdp '$(call version_of,libxdp)$(unused_xdp)'; \
	row libbpf '$(call version_of,libbpf)$(unused_xdp)'; \
	row 'clang for bpf' '$(call first_line,$(CLANG) -target bpf --version)$(unused_xdp)'; \
	row compiler '$(call first_line,$(CXX) --version)'; \
	row clang '$(call first_line,$(CLANG) --version)'; \
	for l in bfd gold lld; do row "linker $$l" "$$(ld.$$l --version 2>/dev/null | head -n 1)"; done; \
	row made '$(OUT)/libwsxdp.a $(OUT)/wsxdp $(OUT)/wsxdp-stage'
