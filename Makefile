# comet -- `make help` lists the targets.  No configure step; everything is under build/<config>/.

ifeq ($(origin CC),default)
CC := gcc
endif
LD       ?= ld
OBJCOPY  ?= objcopy
PREFIX   ?= /usr/local
DESTDIR  ?=
libdir   ?= $(PREFIX)/lib
includedir ?= $(PREFIX)/include
SANITIZE ?=
COVERAGE ?=
JOBS     ?= 2
V        ?=
Q        := $(if $(V),,@)

VERSION := $(shell sed -n 's/^\#define COMET_VERSION "\(.*\)"/\1/p' include/comet.h)

# One build directory per compiler and instrumentation, so that objects never mix.
comma    := ,
CONFIG   := $(notdir $(firstword $(CC)))$(if $(SANITIZE),-$(subst $(comma),+,$(SANITIZE)))$(if $(COVERAGE),-coverage)
BUILD    := build/$(CONFIG)

WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wvla -Wstrict-prototypes \
            -Wmissing-prototypes
WARNINGS_TESTS := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes
INSTRUMENT := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
              $(if $(COVERAGE),--coverage -O0)
CFLAGS   ?= -O2 -g
BASE     := -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread -Iinclude
COMPILE   = $(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $(INSTRUMENT) -MMD -MP
LINK      = $(CC) $(CFLAGS) $(INSTRUMENT) $(LDFLAGS)
LIBS     := -lzstd -lpthread

CORE     := $(wildcard core/*.c)
EXT      := $(wildcard ext/*.c)
# What is shipped has no assertions: nothing of ours may end the host process.  The tests have them.
RELEASE_CORE := $(CORE:%.c=$(BUILD)/release/%.o)
RELEASE_EXT  := $(EXT:%.c=$(BUILD)/release/%.o)
CHECKED_CORE := $(CORE:%.c=$(BUILD)/checked/%.o)
CHECKED_EXT  := $(EXT:%.c=$(BUILD)/checked/%.o)

UNIT_ALL := $(wildcard tests/unit/*.c)
SQL_ALL  := $(wildcard tests/sql/*.c)
LONG_ALL := $(wildcard tests/long/*.c)
UNIT     := $(wildcard tests/unit/test_*.c)
SQL      := $(wildcard tests/sql/test_*.c)
LONG     := $(wildcard tests/long/test_*.c)
UNIT_HELP := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(UNIT),$(UNIT_ALL)))
SQL_HELP  := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(SQL),$(SQL_ALL)))
LONG_HELP := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(LONG),$(LONG_ALL)))
UNIT_PROGRAMS := $(UNIT:%.c=$(BUILD)/%)
SQL_PROGRAMS  := $(SQL:%.c=$(BUILD)/%)
LONG_PROGRAMS := $(LONG:%.c=$(BUILD)/%)
FUZZ     := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_PROGRAMS := $(FUZZ:%.c=$(BUILD)/%)
PROGRAMS := $(UNIT_PROGRAMS) $(SQL_PROGRAMS) $(FUZZ_PROGRAMS)
# What loads the built extension, which is not instrumented.
LOADING  := $(if $(SANITIZE)$(COVERAGE),,$(LONG_PROGRAMS))
BENCHES  := $(BUILD)/tests/bench/bench_sql $(BUILD)/tests/bench/bench_stream $(BUILD)/tests/bench/bench_consumer \
            $(BUILD)/tests/bench/bench_core
TESTS    := $(UNIT_ALL) $(SQL_ALL) $(LONG_ALL) $(wildcard tests/bench/*.c tests/fuzz/*.c)

.PHONY: all comet.so libcomet.a help test fuzz fuzz-programs test-crash test-soak test-programs test-valgrind coverage lint format bench demo install uninstall clean \
        lint-house lint-gcc lint-clang lint-tidy
.DELETE_ON_ERROR:
.SECONDARY:

all: comet.so libcomet.a  ## build the extension and the C library
	@:

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16
	@echo 'Variables: CC=gcc|clang  SANITIZE=address,undefined|thread  PREFIX=/usr/local  DESTDIR=  JOBS=2  V=1 (show commands)'

# ---- The two products ------------------------------------------------------------------------

# Phony, so that they follow CC.
comet.so libcomet.a: %: $(BUILD)/%
	@ln -sf $< $@

$(BUILD)/comet.so: $(RELEASE_CORE) $(RELEASE_EXT) $(BUILD)/comet.map
	@echo 'LINK $@'
	$(Q)$(LINK) -shared -o $@ $(RELEASE_CORE) $(RELEASE_EXT) -Wl,--version-script=$(BUILD)/comet.map \
	    -Wl,-z,nodelete -Wl,-z,defs $(LIBS)

$(BUILD)/comet.map:
	@mkdir -p $(@D)
	@echo '{ global: sqlite3_comet_init; sqlite3_cometreadonly_init; local: *; };' > $@

# One object in which only the comet_* functions of comet.h are global: no internal name can clash with the host's.
$(BUILD)/libcomet.a: $(RELEASE_CORE)
	@echo 'AR   $@'
	$(Q)$(LD) -r -o $(BUILD)/comet.o $(RELEASE_CORE)
	$(Q)$(OBJCOPY) --localize-hidden $(BUILD)/comet.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $(BUILD)/comet.o

$(BUILD)/release/%.o: %.c
	@mkdir -p $(@D)
	@echo 'CC   $<'
	$(Q)$(COMPILE) $(WARNINGS) -DNDEBUG -c -o $@ $<

# ---- Tests -----------------------------------------------------------------------------------

$(BUILD)/checked/core/%.o: core/%.c
	@mkdir -p $(@D)
	@echo 'CC   $<'
	$(Q)$(COMPILE) $(WARNINGS) -c -o $@ $<

$(BUILD)/checked/ext/%.o: ext/%.c
	@mkdir -p $(@D)
	@echo 'CC   $<'
	$(Q)$(COMPILE) $(WARNINGS) -DSQLITE_CORE -c -o $@ $<

$(BUILD)/checked.a: $(CHECKED_CORE) $(CHECKED_EXT)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	@echo 'CC   $<'
	$(Q)$(COMPILE) $(WARNINGS_TESTS) -DSQLITE_CORE -Icore -Iext -c -o $@ $<

$(UNIT_PROGRAMS): $(UNIT_HELP)
$(SQL_PROGRAMS): $(SQL_HELP)
# With libFuzzer's main where `make fuzz` asks for it, else with our own.
$(FUZZ_PROGRAMS): $(if $(LIBFUZZER),,$(BUILD)/tests/fuzz/driver.o)
$(FUZZ_PROGRAMS): LDFLAGS += $(if $(LIBFUZZER),-fsanitize=fuzzer)
$(PROGRAMS): %: %.o $(BUILD)/checked.a
	@echo 'LINK $@'
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(BUILD)/checked.a -lcmocka -lsqlite3 $(LIBS)

$(LONG_PROGRAMS): $(LONG_HELP)
$(LONG_PROGRAMS): %: %.o
	@echo 'LINK $@'
	$(Q)$(LINK) -o $@ $^ -lcmocka -lsqlite3 -lpthread

test-programs: $(PROGRAMS) $(LOADING)
	@:

# Set-up first, then a make of its own: the wildcards and the compiler need it done.
test:  ## build and run all tests; SANITIZE=address,undefined or thread instruments them
	@tests/setup.sh build test
	@$(MAKE) --no-print-directory -j$(JOBS) test-programs $(if $(SANITIZE)$(COVERAGE),,all)
	@CC='$(CC)' JOBS=$(JOBS) tests/run.sh $(PROGRAMS) $(LOADING) $(if $(SANITIZE)$(COVERAGE),,tests/check-build.sh)

test-crash:  ## writers killed 2,000 times and their files lost 800 times, the consumer killed 500 times, 10,000 power cuts
	@tests/setup.sh build test
	@$(MAKE) --no-print-directory -j$(JOBS) test-programs
	@COMET_TEST_KILLS=500 JOBS=1 SHOW=1 tests/run.sh $(BUILD)/tests/sql/test_consumer
	@COMET_TEST_KILLS=2000 JOBS=1 SHOW=1 tests/run.sh $(BUILD)/tests/unit/test_recovery
	@COMET_TEST_POWER_CUTS=10000 JOBS=1 TIMEOUT=3600 SHOW=1 tests/run.sh $(BUILD)/tests/unit/test_powercut

test-soak:  ## many processes, random kills, for COMET_SOAK_SECONDS=600; 100,000 openings; 20 GB through 64 MiB
	@tests/setup.sh build test
	@$(MAKE) --no-print-directory -j$(JOBS) test-programs all
	@COMET_SOAK_SECONDS=$${COMET_SOAK_SECONDS:-600} COMET_GROWTH_ROUNDS=$${COMET_GROWTH_ROUNDS:-100000} \
	    COMET_GROWTH_ROTATIONS=$${COMET_GROWTH_ROTATIONS:-1000} \
	    COMET_BOUNDS_MB=$${COMET_BOUNDS_MB:-20000} COMET_BOUNDS_SEGMENTS=$${COMET_BOUNDS_SEGMENTS:-1000} JOBS=1 TIMEOUT=7200 SHOW=1 tests/run.sh $(LONG_PROGRAMS)

FUZZ_SECONDS ?= 60

fuzz:  ## each fuzz target with libFuzzer for FUZZ_SECONDS=60; needs clang
	@tests/setup.sh build test lint
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZ_PROGRAMS)
	@$(MAKE) --no-print-directory -j$(JOBS) CC=clang SANITIZE=fuzzer-no-link,address,undefined LIBFUZZER=1 fuzz-programs
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh $(BUILD) build/clang-fuzzer-no-link+address+undefined

fuzz-programs: $(FUZZ_PROGRAMS)
	@:

VALGRIND := valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
            --error-exitcode=99

test-valgrind:  ## the SQL tests under valgrind
	@tests/setup.sh build test valgrind
	@$(MAKE) --no-print-directory -j$(JOBS) test-programs
	@JOBS=$(JOBS) WRAPPER='$(VALGRIND)' tests/run.sh $(SQL_PROGRAMS)

coverage:  ## line coverage of core/ by the tests
	@rm -rf build/gcc-coverage && mkdir -p build
	@status=0; $(MAKE) --no-print-directory test CC=gcc COVERAGE=1 > build/coverage.txt 2>&1 || status=1; \
	    tests/coverage.sh build/gcc-coverage/checked/core; tail -n 1 build/coverage.txt; \
	    if [ $$status = 0 ]; then rm -f build/coverage.txt; fi; exit $$status

# ---- Lint ------------------------------------------------------------------------------------

LINT = xargs -P $(JOBS) -I@ $(1) $(BASE) -O2 -Werror $(2) -c -o /dev/null @

lint:  ## warnings as errors with gcc and clang, clang-tidy, the rules of the house
	@tests/setup.sh build test lint
	@$(MAKE) --no-print-directory -k lint-house lint-gcc lint-clang lint-tidy
	@echo 'lint: ok'

lint-house:
	@tests/lint-house.sh

lint-gcc lint-clang: lint-%:
	@echo 'lint: $*, warnings as errors'
	@printf '%s\n' $(CORE) $(EXT) | $(call LINT,$*,$(WARNINGS))
	@printf '%s\n' $(CORE) $(EXT) | $(call LINT,$*,$(WARNINGS) -DNDEBUG -DSQLITE_CORE)
	@printf '%s\n' $(TESTS) | $(call LINT,$*,$(WARNINGS_TESTS) -DSQLITE_CORE -Icore -Iext)

lint-tidy:
	@echo 'lint: clang-tidy'
	@printf '%s\n' $(CORE) $(EXT) | xargs -P $(JOBS) -I@ sh -c 'clang-tidy --quiet @ -- $(BASE) 2> /dev/null'

format:  ## clang-format over all C files
	@tests/setup.sh lint
	clang-format -i $(CORE) $(EXT) $(TESTS) $(wildcard include/*.h core/*.h ext/*.h tests/*/*.h)

# ---- Bench and demo --------------------------------------------------------------------------

HAVE_LMDB = $(shell $(CC) -E -include lmdb.h -x c /dev/null > /dev/null 2>&1 && echo 1)

$(BUILD)/tests/bench/%.o: tests/bench/%.c
	@mkdir -p $(@D)
	@echo 'CC   $<'
	$(Q)$(COMPILE) $(WARNINGS_TESTS) -Icore -DNDEBUG $(if $(HAVE_LMDB),-DHAVE_LMDB) -c -o $@ $<

$(BUILD)/tests/bench/bench_sql: %: %.o $(BUILD)/tests/bench/bench.o $(BUILD)/tests/bench/floor.o
	@echo 'LINK $@'
	$(Q)$(LINK) -o $@ $^ -lsqlite3 $(LIBS)

$(BUILD)/tests/bench/bench_stream $(BUILD)/tests/bench/bench_consumer: %: %.o $(BUILD)/tests/bench/bench.o
	@echo 'LINK $@'
	$(Q)$(LINK) -o $@ $^ -lsqlite3 $(LIBS)

$(BUILD)/tests/bench/bench_core: %: %.o $(BUILD)/tests/bench/bench.o $(BUILD)/release/core/latency.o $(BUILD)/libcomet.a
	@echo 'LINK $@'
	$(Q)$(LINK) -o $@ $^ $(if $(HAVE_LMDB),-llmdb) $(LIBS)

bench:  ## figures beside a do-nothing table, a plain table, LMDB and write(); no pass or fail
	@tests/setup.sh build bench
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BENCHES)
	@TMPDIR=$$(mktemp -d) && export TMPDIR && trap 'rm -rf "$$TMPDIR"' EXIT && trap 'exit 130' INT TERM && \
	    $(BUILD)/tests/bench/bench_sql ./comet.so && $(BUILD)/tests/bench/bench_stream ./comet.so && \
    $(BUILD)/tests/bench/bench_consumer ./comet.so && $(BUILD)/tests/bench/bench_core

demo:  ## this machine's own telemetry into a log, and the queries of sql/quickstart.sql
	@tests/setup.sh build demo
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@tests/demo.sh

# ---- Install ---------------------------------------------------------------------------------

install: all  ## comet.so, libcomet.a, headers and comet.pc under $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(includedir)
	install -m 755 $(BUILD)/comet.so $(DESTDIR)$(libdir)/comet.so
	install -m 644 $(BUILD)/libcomet.a $(DESTDIR)$(libdir)/libcomet.a
	install -m 644 $(wildcard include/*.h) $(DESTDIR)$(includedir)
	printf '%s\n' 'libdir=$(libdir)' 'includedir=$(includedir)' '' 'Name: comet' \
	    'Description: embedded segmented append-only log for telemetry' 'Version: $(VERSION)' \
	    'Libs: -L$${libdir} -l:libcomet.a -lzstd -lpthread' 'Cflags: -I$${includedir}' \
	    > $(DESTDIR)$(libdir)/pkgconfig/comet.pc

uninstall:  ## what install put there
	rm -f $(DESTDIR)$(libdir)/comet.so $(DESTDIR)$(libdir)/libcomet.a \
	    $(DESTDIR)$(libdir)/pkgconfig/comet.pc \
	    $(patsubst include/%,$(DESTDIR)$(includedir)/%,$(wildcard include/*.h))

clean:  ## everything that was built
	rm -rf build comet.so libcomet.a

-include $(shell find build -name '*.d' 2> /dev/null)
