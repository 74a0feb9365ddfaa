# SPDX-License-Identifier: Apache-2.0
# make run · make test · make bench · make chaos · make release · make lint · make fuzz FUZZ=name TIME=60 · make install · make deb
SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# Debian packages: to build and run, to test, to fuzz, to measure. nodejs and npm join TEST_PKGS only
# where no node and npm command exists.
RUN_PKGS := gcc libc6-dev pkg-config libmicrohttpd-dev libgnutls28-dev libjansson-dev libjwt-dev libssl-dev libsqlite3-dev \
            libcurl4-openssl-dev libconfuse-dev libargon2-dev libcrypt-dev liboath-dev libqrencode-dev libseccomp-dev \
            libmaxminddb-dev ca-certificates curl jq oathtool
TEST_PKGS := $(RUN_PKGS) check libsubunit-dev libfido2-dev clang-format universal-ctags shellcheck openssl \
             sqlite3 util-linux zbar-tools debhelper dpkg-dev fakeroot lintian logrotate mandoc python3-minimal systemd \
             systemd-container
# Never installed, since it would start a server: promtool alone is taken out of it, into $(BUILD)/host.
PROMTOOL_PKG := prometheus
# Beside these, and only where apt has it: without it the browser tests are skipped, and counted as skipped.
BROWSER_PKGS := chromium
DEB_PKGS := $(RUN_PKGS) debhelper dpkg-dev fakeroot
# Servers that the tests run from below build/tools; installing their packages would start them.
UNPACKED_PKGS := nginx caddy
FUZZ_PKGS := $(RUN_PKGS) clang libclang-rt-14-dev
TIDY_PKGS := $(RUN_PKGS) check libsubunit-dev clang-tidy cppcheck
BENCH_PKGS := $(RUN_PKGS) wrk nginx-light openssl util-linux

MODE ?= debug
BUILD ?= build
OBJ := $(BUILD)/$(MODE)
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)';)
CC := gcc
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
SYSCONFDIR ?= /etc
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/myaccountd
BASHDIR ?= $(DATADIR)/bash-completion/completions
ZSHDIR ?= $(DATADIR)/zsh/site-functions
SYSTEMDUNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
SUBMAKE = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

PKGS := libmicrohttpd gnutls jansson libjwt openssl sqlite3 libcurl libconfuse libargon2 libcrypt liboath libqrencode \
        libmaxminddb
# The filter of system calls is built in where the library is; WITHOUT_SECCOMP=1 leaves it out.
ifeq ($(WITHOUT_SECCOMP)$(shell $(PKG_CONFIG) --exists libseccomp 2>/dev/null && echo found),found)
PKGS += libseccomp
CPPFLAGS_SECCOMP := -DMA_SECCOMP
endif
# Seen at parse time: `make run` and `make test` install packages first and then call make again.
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
        -Wconversion -Wsign-conversion -Wformat=2 -Wundef -Wvla -Wcast-qual -Wwrite-strings -Wpointer-arith \
        -Wnull-dereference -Wimplicit-fallthrough=5 -Wunused-result
HARDEN := -O2 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
          -ftrivial-auto-var-init=zero -fzero-call-used-regs=used-gpr -fno-delete-null-pointer-checks
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_debug := -O1
CFLAGS_release := $(HARDEN)
CFLAGS_asan := -O1 $(SANITIZE) -DMA_TEST_HOOKS
CFLAGS_tsan := -O1 -fsanitize=thread -DMA_TEST_HOOKS
CFLAGS_cov := -O0 --coverage -fprofile-update=atomic -DMA_TEST_HOOKS
CFLAGS_fuzz := -O1 $(SANITIZE) -fsanitize=fuzzer-no-link -w
LDFLAGS_release := -Wl,-z,separate-code
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_cov := --coverage
LDFLAGS_fuzz := -fsanitize=address,undefined
ifeq ($(MODE),fuzz)
CC := clang
WARN :=
endif
ALL_CPPFLAGS = -D_GNU_SOURCE -Iinclude -I$(OBJ)/gen $(PKG_CFLAGS) $(CPPFLAGS_SECCOMP) $(CPPFLAGS)
ALL_CFLAGS = -std=c17 -g -fPIE -fno-strict-overflow -fvisibility=hidden -ffile-prefix-map=$(CURDIR)=. \
             $(WARN) $(CFLAGS_$(MODE)) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack $(LDFLAGS_$(MODE)) $(LDFLAGS)
LDLIBS := $(PKG_LIBS) -lpthread
CHECK_LIBS := -lcheck -lsubunit -lm -lrt

PROGRAM_SRC := src/main.c src/tool/myaccountctl.c src/tool/dictgen.c
LIB_SRC := $(filter-out $(PROGRAM_SRC),$(sort $(wildcard src/*.c src/*/*.c)))
LIB_OBJ := $(LIB_SRC:%.c=$(OBJ)/%.o)
LIB := $(OBJ)/libmyaccount.a
UNIT := $(patsubst tests/unit/%.c,$(OBJ)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
SUPPORT_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(sort $(wildcard tests/support/*.c)))
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
REPLAY := $(FUZZERS:%=$(OBJ)/fuzz/replay_%)
CHAOS_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(sort $(wildcard tests/chaos/*.c)))
# Unit tests that start threads also run under TSan.
THREADED := $(patsubst tests/unit/%.c,$(OBJ)/tests/%,$(shell grep -slE 'pthread_create|ma_[a-z_]*_start\>' \
            tests/unit/test_*.c /dev/null))
C_FILES := $(sort $(shell find src include tests -name '*.[ch]' -not -path '*/node_modules/*' 2>/dev/null))

.PHONY: all release packages run demo-reset test chaos chaos-programs test-programs tsan-programs node-modules promtool bench \
        fuzz fuzz-campaign fuzz-http fuzz-replay lint tidy format format-check coverage install uninstall deb distcheck clean \
        deps test-deps \
        fuzz-deps tidy-deps bench-deps deb-deps

all: packages $(OBJ)/myaccountd $(OBJ)/myaccountctl
	@ln -sfn $(MODE)/myaccountd $(BUILD)/myaccountd
	@ln -sfn $(MODE)/myaccountctl $(BUILD)/myaccountctl

release:
	+@$(SUBMAKE) MODE=release all

packages:
	@$(PKG_CONFIG) --exists $(PKGS) || { echo 'Libraries are missing: run "make deps" to install them.' >&2; exit 1; }

# --- objects and programs ---
$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(call say,AR,$@)ar crD $@ $^

$(OBJ)/myaccountd: $(OBJ)/src/main.o $(LIB)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LDLIBS) -o $@

$(OBJ)/myaccountctl: $(OBJ)/src/tool/myaccountctl.o $(LIB)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LDLIBS) -o $@

$(OBJ)/tests/%: $(OBJ)/tests/unit/%.o $(SUPPORT_OBJ) $(LIB)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LDLIBS) $(CHECK_LIBS) -o $@

# What a daemon test wants in the outbox.
$(OBJ)/tests/put_push: $(OBJ)/tests/daemon/put_push.o $(LIB)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LDLIBS) -o $@

# The daemon on a failing disk and with failing allocations. The allocator comes before the sanitizer has started.
$(OBJ)/chaos/myaccountd: $(OBJ)/src/main.o $(CHAOS_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LDLIBS) -o $@
$(OBJ)/tests/chaos/memory.o: CFLAGS += -fno-sanitize=all

# Every allocation of these tests can be made to fail.
$(OBJ)/tests/test_no_memory: $(OBJ)/tests/chaos/memory.o

# The second opinion on WebAuthn, in that test only.
$(OBJ)/tests/test_webauthn_fido2: CHECK_LIBS += -lfido2

$(OBJ)/fuzz/replay_%: $(OBJ)/tests/fuzz/fuzz_%.o $(OBJ)/tests/fuzz/standalone.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LDLIBS) -o $@

$(OBJ)/fuzz/%: $(OBJ)/tests/fuzz/fuzz_%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -o $@

$(OBJ)/bench/%: $(OBJ)/tests/bench/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ $(LDLIBS) -o $@

$(OBJ)/bench/breached: $(LIB)

# Files that .incbin and #include pull in without the compiler's dependency file knowing.
$(OBJ)/src/db/migrate.o: $(wildcard sql/sqlite/*.sql)
$(OBJ)/src/deliver/templates.o: $(wildcard conf/templates/*)
$(OBJ)/src/http/assets.o: $(wildcard conf/pages/*)
$(OBJ)/src/feature/authenticators.o: conf/authenticators.json
$(OBJ)/src/api/openapi.o: conf/openapi.json
$(OBJ)/src/feature/dictionary.o: $(OBJ)/gen/dictionary.inc

# The files of the account page, and the same compressed, for src/ui/files.c.
ACCOUNT_FILES := $(sort $(wildcard conf/account/*))
ACCOUNT_GZ := $(ACCOUNT_FILES:conf/account/%=$(OBJ)/gen/account/%.gz)
$(OBJ)/gen/account/%.gz: conf/account/%
	@mkdir -p $(@D)
	$(call say,GZIP,$@)gzip -9nc $< > $@

$(OBJ)/gen/account_files.inc: $(ACCOUNT_GZ) Makefile
	$(call say,GEN,$@)for f in $(notdir $(ACCOUNT_FILES)); do \
	    echo "UI_FILE($$(tr .- __ <<<$$f), \"$$f\", \"conf/account/$$f\", \"$(OBJ)/gen/account/$$f.gz\")"; done > $@
$(OBJ)/src/ui/files.o: $(OBJ)/gen/account_files.inc $(ACCOUNT_FILES)

$(BUILD)/host/dictgen: src/tool/dictgen.c
	@mkdir -p $(@D)
	$(call say,HOSTCC,$<)gcc -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -Iinclude $< -o $@

$(OBJ)/gen/dictionary.inc: $(BUILD)/host/dictgen conf/dictionary/en_100k.txt
	@mkdir -p $(@D)
	$(call say,GEN,$@)$(BUILD)/host/dictgen conf/dictionary/en_100k.txt > $@

-include $(LIB_OBJ:.o=.d) $(OBJ)/src/main.d $(OBJ)/src/tool/myaccountctl.d \
         $(wildcard $(OBJ)/tests/*/*.d)
.SECONDARY:

# --- packages ---
# Installs what is missing of the listed packages and says so; silent when all are there.
define install_missing
@want="$(1)"; missing=; \
command -v dpkg-query >/dev/null || { echo "Not a Debian system: install the equivalents of: $$want"; exit 0; }; \
for p in $$want; do \
    [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing="$$missing $$p"; \
done; \
$(2) \
[ -n "$$missing" ] || exit 0; \
sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
echo "Installing Debian packages:$$missing"; \
$$sudo apt-get update -q && \
$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing
endef
WITH_NODE := command -v node >/dev/null || missing="$$missing nodejs"; command -v npm >/dev/null || missing="$$missing npm";

deps:
	$(call install_missing,$(RUN_PKGS),)
test-deps:
	$(call install_missing,$(TEST_PKGS),$(WITH_NODE))
	$(call install_missing,$(BROWSER_PKGS),) || \
	    echo '*** $(BROWSER_PKGS) cannot be installed: the browser tests will be SKIPPED ***' >&2
	@tests/package/unpack.sh $(BUILD)/tools $(UNPACKED_PKGS)
fuzz-deps:
	$(call install_missing,$(FUZZ_PKGS),)
tidy-deps:
	$(call install_missing,$(TIDY_PKGS),)
deb-deps:
	$(call install_missing,$(DEB_PKGS),)
bench-deps:
	$(call install_missing,$(BENCH_PKGS),$(WITH_NODE))

# --- the two commands and their relatives ---
run: deps
	+@$(SUBMAKE) MODE=release all
	@exec conf/demo/run.sh

demo-reset:
	rm -rf var

test: test-deps
	+@$(SUBMAKE) node-modules promtool
	+@MAKE='$(MAKE)' BUILD='$(BUILD)' tests/run $(TESTS)

test-programs: packages $(OBJ)/myaccountd $(OBJ)/myaccountctl $(UNIT) $(REPLAY) $(OBJ)/chaos/myaccountd $(OBJ)/tests/put_push
chaos-programs: packages $(OBJ)/myaccountctl $(OBJ)/chaos/myaccountd
tsan-programs: packages $(OBJ)/myaccountd $(OBJ)/myaccountctl $(THREADED)

node-modules: tests/daemon/node_modules/.package-lock.json
tests/daemon/node_modules/.package-lock.json: tests/daemon/package-lock.json
	@echo '  NPM     tests/daemon'
	@cd tests/daemon && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error && touch node_modules/.package-lock.json

# apt checks what it downloads; nothing of the package is run or unpacked but the one file.
promtool: $(BUILD)/host/promtool
$(BUILD)/host/promtool:
	@mkdir -p $(@D)/deb
	@set -o pipefail; if p=$$(command -v promtool); then ln -sfn "$$p" $@; exit; fi; \
	echo '  APT     promtool, out of $(PROMTOOL_PKG)'; \
	cd $(@D)/deb && get='apt-get download -q -o APT::Sandbox::User=root $(PROMTOOL_PKG)'; \
	{ $$get || { $$([ "$$(id -u)" = 0 ] || echo sudo) apt-get update -q && $$get; }; } >apt.log 2>&1 && \
	dpkg-deb --fsys-tarfile $(PROMTOOL_PKG)_*.deb | tar -xO ./usr/bin/promtool >promtool && \
	chmod 755 promtool && mv promtool .. || \
	echo '*** $(PROMTOOL_PKG) cannot be had: the checks with promtool will be SKIPPED ***' >&2
	@rm -rf $(@D)/deb

bench: bench-deps
	+@$(SUBMAKE) MODE=release all \
	    $(BUILD)/release/bench/bare_server $(BUILD)/release/bench/load $(BUILD)/release/bench/breached
	@BUILD="$(BUILD)" tests/bench/bench.sh

# make chaos TIME=3600 [SEED=text] [ONLY='disk full']
chaos: test-deps
	+@$(SUBMAKE) node-modules
	+@$(SUBMAKE) MODE=asan chaos-programs
	@MA_BIN=$(BUILD)/asan node tests/chaos/chaos.mjs time=$(TIME) seed='$(SEED)' only='$(ONLY)'

TIME ?= 60
fuzz: fuzz-deps
	@[ -n '$(FUZZ)' ] || { echo 'usage: make fuzz FUZZ=name [TIME=seconds]; names: $(FUZZERS)' >&2; exit 2; }
	+@$(SUBMAKE) MODE=fuzz $(BUILD)/fuzz/fuzz/$(FUZZ)
	@mkdir -p $(BUILD)/fuzz/found/$(FUZZ) tests/fuzz/corpus/$(FUZZ)
	$(BUILD)/fuzz/fuzz/$(FUZZ) -max_total_time=$(TIME) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	    -artifact_prefix=$(BUILD)/fuzz/found/ $(wildcard tests/fuzz/dict/$(FUZZ).dict) \
	    $(BUILD)/fuzz/found/$(FUZZ) tests/fuzz/corpus/$(FUZZ)

# make fuzz-campaign TIME=3600: every parser, in all that long
fuzz-campaign: fuzz-deps
	+@$(SUBMAKE) MODE=fuzz $(FUZZERS:%=$(BUILD)/fuzz/fuzz/%)
	@BUILD=$(BUILD) tests/fuzz/campaign.sh $(TIME)

# make fuzz-http TIME=300 [SEED=text] [PART=deep|defaults|flood]
fuzz-http: test-deps
	+@$(SUBMAKE) node-modules
	+@$(SUBMAKE) MODE=asan packages $(BUILD)/asan/myaccountd $(BUILD)/asan/myaccountctl
	@MA_BIN=$(BUILD)/asan node tests/fuzz/http/fuzz.mjs time=$(TIME) seed='$(SEED)' part='$(PART)' found=$(BUILD)/fuzz/found/http

fuzz-replay:
	+@$(SUBMAKE) MODE=asan $(FUZZERS:%=$(BUILD)/asan/fuzz/replay_%)
	@for f in $(FUZZERS); do $(BUILD)/asan/fuzz/replay_$$f tests/fuzz/corpus/$$f || exit 1; done

lint:
	@tests/lint/run.sh
tidy: tidy-deps
	clang-tidy --quiet $(filter-out src/tool/dictgen.c,$(wildcard src/*.c src/*/*.c)) -- -std=c17 $(ALL_CPPFLAGS)
	cppcheck --quiet --enable=warning,performance,portability --inline-suppr --std=c11 --error-exitcode=1 \
	    --suppress=missingIncludeSystem -Iinclude src
format:
	clang-format -i $(C_FILES)
format-check:
	@clang-format --dry-run -Werror $(C_FILES)

# make coverage [SUITES="unit daemon fuzz"]
coverage: test-deps
	+@$(SUBMAKE) node-modules
	+@$(SUBMAKE) MODE=cov test-programs
	@BUILD=$(BUILD) tests/lint/coverage.sh $(SUITES)

# --- installation ---
# Each file as source>destination>mode; files under conf/ that name directories get the ones of this installation.
INSTALLED := $(BUILD)/release/myaccountd>$(SBINDIR)/myaccountd>0755 \
    $(BUILD)/release/myaccountctl>$(BINDIR)/myaccountctl>0755 \
    conf/myaccountd.service>$(SYSTEMDUNITDIR)/myaccountd.service>0644 \
    conf/myaccountd.socket>$(SYSTEMDUNITDIR)/myaccountd.socket>0644 \
    conf/sysusers.conf>$(SYSUSERSDIR)/myaccountd.conf>0644 \
    conf/tmpfiles.conf>$(TMPFILESDIR)/myaccountd.conf>0644 \
    conf/man/myaccountctl.1>$(MANDIR)/man1/myaccountctl.1>0644 \
    conf/man/myaccountd.conf.5>$(MANDIR)/man5/myaccountd.conf.5>0644 \
    conf/man/myaccountd.8>$(MANDIR)/man8/myaccountd.8>0644 \
    conf/completion/myaccountctl.bash>$(BASHDIR)/myaccountctl>0644 \
    conf/completion/myaccountctl.zsh>$(ZSHDIR)/_myaccountctl>0644 \
    README.md>$(DOCDIR)/README.md>0644 \
    LICENSE>$(DOCDIR)/LICENSE>0644 \
    conf/myaccountd.conf>$(DOCDIR)/examples/myaccountd.conf>0644 \
    conf/demo.json>$(DOCDIR)/examples/demo.json>0644 \
    conf/grafana/myaccountd.json>$(DOCDIR)/examples/grafana.json>0644 \
    conf/prometheus/alerts.yml>$(DOCDIR)/examples/alerts.yml>0644 \
    conf/nginx.conf.example>$(DOCDIR)/examples/nginx.conf>0644 \
    conf/Caddyfile.example>$(DOCDIR)/examples/Caddyfile>0644 \
    conf/logrotate.conf>$(DOCDIR)/examples/logrotate.conf>0644

install:
	+@$(SUBMAKE) MODE=release all
	@DESTDIR='$(DESTDIR)' SBINDIR='$(SBINDIR)' SYSCONFDIR='$(SYSCONFDIR)' conf/install.sh install $(patsubst %,'%',$(INSTALLED))

uninstall:
	@DESTDIR='$(DESTDIR)' SYSCONFDIR='$(SYSCONFDIR)' conf/install.sh uninstall $(patsubst %,'%',$(INSTALLED))

deb: deb-deps
	+@$(SUBMAKE) MODE=release all
	@BUILD='$(BUILD)' conf/deb.sh

distcheck: deb-deps
	@MAKE='$(MAKE)' tests/package/distcheck.sh

clean:
	rm -rf $(BUILD)
