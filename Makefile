# summary_cache: JSON summaries served from shared memory, exact at commit
#
#   make, make install, make installcheck   as for every PGXS extension; PG_CONFIG=... picks the server
#   make check    installs what is missing, builds with -Werror, runs every suite on private servers
#                 SUITES="regress isolation tap demo" and TESTS="names" narrow it; JOBS=number of TAP
#                 tests beside each other, TIMER=1 shows their times, FRESH=1 compiles everything anew
#   make check-cassert, make check-sanitize   the same on a PostgreSQL with assertions, or with
#                 AddressSanitizer and UndefinedBehaviorSanitizer, built once and kept outside the tree,
#                 from the distribution's source package or from SOURCE=directory
#   make check-matrix   the same on every supported server version, in chroots of the Debian releases
#                 that have them, likewise kept; VERSIONS="17 18" narrows it; needs root
#   make check-patroni   a fleet of three servers under Debian's Patroni: switchover, failover, pg_rewind
#   make check-package   the Debian package: built, installed and tried in clean chroots; needs root
#   make lint     shellcheck, clang-tidy, cppcheck, and builds by gcc and clang with warnings as errors
#   make dist     summary_cache-VERSION.tar.gz and .zip from what is committed
#   make check-covers   takes the covers of the protocol away, one at a time: the test of each must fail;
#                 MUTANTS="names" narrows it
#   make check-postgres   PostgreSQL's own regression and isolation tests with every table tracked, each hit
#                 compared; SUITES, TESTS
#   make check-model    the protocol as models for spin, each checked exhaustively; MODELS="names"
#   make demo     the main job on a throw-away server; KEEP=1 leaves it running
#   make fuzz     random calls, writes, DDL and faults; roles that attack each other; DURATION=seconds SEED=number;
#                 also fuzz-cassert and fuzz-sanitize
#   make stress   the concurrency checker, long; DURATION=seconds SEED=number MODES="plain 2pc"
#   make soak     refreshes beside kills, want of workers and hostile summaries; DURATION=seconds SEED=number;
#                 also soak-cassert and soak-sanitize
#   make bench    reads, writes and refreshes beside what one could use instead; QUICK=1 in two minutes
#   make bench-instructions   instructions per operation, by callgrind
#   All take NO_INSTALL=1: only say what is missing.

EXTENSION  = summary_cache
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
# The library serves the SQL objects of these as well: what has an upgrade script to its own version.
OLDER_VERSIONS = $(patsubst sql/$(EXTENSION)--%--$(EXTVERSION).sql,%,$(wildcard sql/$(EXTENSION)--*--$(EXTVERSION).sql))

MODULE_big = summary_cache
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = sql/$(EXTENSION)--$(EXTVERSION).sql $(wildcard sql/$(EXTENSION)--*--*.sql)
PGFILEDESC = "summary_cache - JSON summaries served from shared memory"

PKG_CONFIG ?= pkg-config
# What PostgreSQL's own headers trip over is not ours to mend.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# A server that gcc built hands out flags, and a kind of format, that clang does not know.
PG_CFLAGS += $(if $(findstring clang,$(CC)),-Wno-ignored-optimization-argument -Wno-unknown-warning-option -Wno-ignored-attributes)
comma := ,
# CPPFLAGS rather than CFLAGS: the bitcode of a server with LLVM is compiled without CFLAGS.
# SC_DEBUG=1 builds in waiting points and weakened protocols, for tests (src/debug.c).
# Encoded forms of documents: each encoding is built in if its library is there.  ENCODINGS= builds in none.
ENCODINGS ?= gzip zstd
library-gzip = zlib
library-zstd = libzstd
BUILT_IN := $(foreach e,$(ENCODINGS),$(shell $(PKG_CONFIG) --exists $(library-$(e)) && echo $(e)))
ENCODERS := $(foreach e,$(BUILT_IN),$(library-$(e)))
PG_CPPFLAGS = -DSC_VERSION='"$(EXTVERSION)"' -DSC_OLDER_VERSIONS='$(foreach v,$(OLDER_VERSIONS),"$(v)"$(comma))' $(shell $(PKG_CONFIG) --cflags json-c $(ENCODERS)) $(if $(filter gzip,$(BUILT_IN)),-DSC_HAVE_GZIP) $(if $(filter zstd,$(BUILT_IN)),-DSC_HAVE_ZSTD) $(if $(SC_DEBUG),-DSC_DEBUG)
# A copy that is loaded beside another one (src/extension.c) shall not call that one's functions by accident.
SHLIB_LINK  = $(shell $(PKG_CONFIG) --libs json-c $(ENCODERS)) $(if $(filter linux,$(PORTNAME)),-Wl$(comma)-Bsymbolic)

# A test is a file; one without a suite's files is left out of it (`:=`, so that ifdef in PGXS sees
# an empty list as unset).  expected/ at the root serves both runners on every version: up to 15
# they look below --outputdir first, from 16 on below --expecteddir, whose default is "." as well.
REGRESS   := $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
ISOLATION := $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
PROVE_TESTS := $(sort $(wildcard test/t/*.pl))
TAP_TESTS   := $(if $(PROVE_TESTS),1)
REGRESS_OPTS   = --inputdir=test --outputdir=.
ISOLATION_OPTS = --inputdir=test --outputdir=.

# A goal is a script, and what the script is told after the hyphen; but some are of their own.
OWN_GOALS = check check-cassert check-sanitize check-matrix check-covers check-model check-postgres check-patroni check-package lint dist demo bench bench-instructions fuzz fuzz-cassert fuzz-sanitize stress soak soak-cassert soak-sanitize
script-check-matrix = matrix.sh
script-check-patroni = patroni.sh
script-check-package = package.sh
script-check-covers = covers.sh
script-check-model = model.sh
script-check-postgres = postgres.sh
script-bench = bench/bench.sh
script-bench-instructions = bench/instructions.sh
ifneq (,$(filter $(OWN_GOALS),$(MAKECMDGOALS)))

# Before, and instead of, PGXS: these must work where pg_config is not installed yet, and PGXS has a
# `check` of its own that only says that it is not supported.
.PHONY: $(MAKECMDGOALS)
$(filter $(OWN_GOALS),$(MAKECMDGOALS)):
	@bash test/$(or $(script-$@),$(firstword $(subst -, ,$@)).sh $(wordlist 2,2,$(subst -, ,$@)))
$(filter-out $(OWN_GOALS),$(MAKECMDGOALS)):
	+@$(MAKE) --no-print-directory $@

else

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
# Debian's client package alone has PGXS, without a header.
ifeq (,$(and $(wildcard $(PGXS)),$(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h)))
$(error no PostgreSQL server headers found by "$(PG_CONFIG)": install them (`make check` does), or set PG_CONFIG)
endif
include $(PGXS)

# PGXS knows nothing of headers.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)
src/extension.o src/extension.bc: $(EXTENSION).control $(wildcard sql/$(EXTENSION)--*--*.sql)

endif
