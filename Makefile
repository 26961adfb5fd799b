# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Hearth. `make help` lists the targets. Everything built goes below build/.

PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/bin/bpftool) bpftool)
B       := build
VERSION := 0.1.0

ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')

CFLAGS  ?= -O2 -g
CFLAGS  += -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	   -Wno-missing-field-initializers -Werror=implicit-function-declaration \
	   -D_GNU_SOURCE -DHEARTH_VERSION='"$(VERSION)"' -Iinclude -Iuser -I$(B) -MMD -MP
BPFFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter \
	   -Iinclude -Ibpf -I/usr/include/$(shell $(CC) -dumpmachine) -D__TARGET_ARCH_$(ARCH) -D__bpf__
AGENT_LIBS := -lbpf -lelf -lz -luv -lmicrohttpd -ljansson -linih -lcap-ng -lm -lpthread
CLI_LIBS   := -lcurl -ljansson -lncursesw -ltinfo -lbpf -lelf -lz -lcap-ng -linih -lm -lpthread
UNIT_LIBS  := -lcmocka $(AGENT_LIBS)
SAN        := -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined

objs = $(patsubst %.c,$(2)/%.o,$(wildcard user/$(1)/*.c))

LIBS      := lib policy trace sim zygote
ARCHIVES  := $(LIBS:%=$(B)/libhearth-%.a)
LINK      := $(B)/libhearth-sim.a $(B)/libhearth-trace.a $(B)/libhearth-policy.a $(B)/libhearth-lib.a
AGENT     := $(call objs,agent,$(B))
CLI       := $(call objs,cli,$(B))
BPF_OBJS  := $(patsubst bpf/%.bpf.c,$(B)/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c))
UNIT      := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))

# V=1 shows whole commands
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = @printf '  %-8s%s\n' $(1) $@

all: $(B)/hearthd $(B)/hearth $(B)/hearth-images zygote ## build the three programs and libhearth-zygote (default)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- kernel side: one object per concern, linked into one skeleton
$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h) include/hearth/event.h
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPFFLAGS) -c $< -o $@

$(B)/hearth.bpf.o: $(BPF_OBJS)
	$(call say,BPFTOOL)
	$(Q)$(BPFTOOL) gen object $@ $^

$(B)/hearth.skel.h: $(B)/hearth.bpf.o
	$(call say,BPFTOOL)
	$(Q)$(BPFTOOL) gen skeleton $< name hearth_bpf > $@.tmp && mv $@.tmp $@

# ---- user side
PRIORS := $(patsubst user/policy/%.csv,$(B)/%.inc,$(wildcard user/policy/prior-*.csv user/policy/weights-*.csv))
$(B)/prior-%.inc: user/policy/prior-%.csv
	@mkdir -p $(@D)
	$(Q)sed -n 's/^[0-9].*/{&},/p' $< > $@
$(B)/weights-%.inc: user/policy/weights-%.csv
	@mkdir -p $(@D)
	$(Q)sed -n 's/^[0-9]*,\(.*\)/{\1},/p' $< > $@
$(B)/user/policy/predictive.o $(B)/san/user/policy/predictive.o: $(PRIORS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@

$(AGENT): | $(B)/hearth.skel.h

define archive
$(B)/libhearth-$(1).a: $(call objs,$(1),$(B))
	@rm -f $$@
	$$(call say,AR)
	$$(Q)$(AR) rcs $$@ $$^
endef
$(foreach l,$(LIBS),$(eval $(call archive,$(l))))

$(B)/hearthd: $(AGENT) $(ARCHIVES)
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(AGENT) $(LINK) $(AGENT_LIBS)

# `hearth config check` is the agent's own loader
CONFIG := $(filter $(B)/user/agent/config%.o $(B)/user/agent/naming%.o,$(AGENT))
$(B)/hearth: $(CLI) $(CONFIG) $(ARCHIVES)
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(CLI) $(CONFIG) $(LINK) $(CLI_LIBS)

# ---- libhearth-zygote: for other people's programs, so it needs nothing of ours
$(B)/user/zygote/%.o: CFLAGS += -fPIC -fvisibility=hidden
ZYGOTE := $(B)/libhearth-zygote.a $(B)/libhearth-zygote.so $(B)/zygote/image $(B)/zygote/run $(B)/hearth_zygote.node
zygote: $(ZYGOTE) ## build libhearth-zygote, its examples and its side for Node.js

$(B)/libhearth-zygote.so.1: $(call objs,zygote,$(B))
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,$(@F) -o $@ $^
$(B)/libhearth-zygote.so: $(B)/libhearth-zygote.so.1
	$(Q)ln -sf $(<F) $@

# what it calls of Node is in the process that loads it
$(B)/hearth_zygote.node: $(B)/user/zygote/node/addon.o $(B)/libhearth-zygote.a
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -shared -o $@ $^

$(B)/zygote/%: $(B)/user/zygote/example/%.o $(B)/libhearth-zygote.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^

# ---- the image manager: the agent's reclaim, none of its rest
IMAGES := $(call objs,images,$(B)) $(patsubst %.c,$(B)/%.o,$(wildcard user/agent/reclaim*.c)) \
	  $(B)/libhearth-zygote.a $(B)/libhearth-policy.a $(B)/libhearth-lib.a
$(B)/hearth-images: $(IMAGES)
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(IMAGES) -luv -ljansson -linih -lm -lpthread

# ---- unit tests: everything but main, rebuilt with ASan and UBSan
SAN_OBJS := $(foreach l,$(LIBS),$(call objs,$(l),$(B)/san)) \
	    $(filter-out %/main.o,$(call objs,agent,$(B)/san)) \
	    $(filter-out %/main.o,$(call objs,cli,$(B)/san))
$(B)/san/%.o: %.c | $(B)/hearth.skel.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(SAN) -c $< -o $@

$(B)/libhearth-san.a: $(SAN_OBJS)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(B)/unit/%: tests/unit/%.c $(B)/libhearth-san.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(SAN) -o $@ $< $(B)/libhearth-san.a $(UNIT_LIBS) -lcurl -lncursesw -ltinfo

unit: $(UNIT) ## build the unit tests

# ---- end to end: helpers that need a build
$(B)/e2e/guard_agent: tests/e2e/guard_agent.c $(addprefix $(B)/user/agent/,guard.o guard_table.o guard_thaw.o) $(B)/libhearth-lib.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -o $@ $^ -lpthread

PART := $(B)/tests/e2e/parts
$(B)/e2e/server: $(addprefix $(PART)/,server.o conn.o http.o gate.o)
$(B)/e2e/spawner: $(addprefix $(PART)/,spawner.o gate.o)
E2E := $(B)/e2e/server $(B)/e2e/spawner
$(E2E):
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lpthread

# ---- fuzz targets with a generator of their own, for the smoke runs
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/*.c))
$(B)/fuzz/%: tests/fuzz/%.c $(B)/libhearth-san.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(SAN) -DSTANDALONE -o $@ $< $(B)/libhearth-san.a $(UNIT_LIBS) -lcurl -lncursesw -ltinfo

# ---- demo: functions, watchdog, load generator
DEMO := $(addprefix $(B)/demo/,thumbnail rank watchdog) $(B)/hearth-load
$(B)/demo/%: $(B)/demo/functions/%.o $(B)/demo/functions/httpd.o
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lpthread

$(B)/train-predictive: $(B)/tools/train-predictive.o $(LINK)
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(B)/tools/train-predictive.o $(LINK) -lm -lpthread -lz

$(B)/hearth-load: $(patsubst %.c,$(B)/%.o,$(wildcard demo/load/*.c)) $(B)/libhearth-trace.a $(B)/libhearth-lib.a
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -luv -ljansson -lz -lm

demo: ## show it on live functions under a replayed load (root)
	@deploy/deps build demo
	@$(MAKE) --no-print-directory all $(DEMO)
	@demo/run

# ---- everything that tests need
tests: all unit $(E2E) $(B)/e2e/guard_agent $(FUZZ) $(DEMO)

check: ## install what is missing, build, run every test (root: also the end-to-end tests)
	@deploy/deps build test
	@$(MAKE) --no-print-directory tests
	-@deploy/deps vm && demo/run --install
	@tests/run --vm "$(CHECK_KERNELS)"

# ---- other kernels: what `make check` boots, and all of them
CHECK_KERNELS ?= 6.1 7.2
KERNEL ?= all
CASE   ?=
vmtest: tests ## run the cases on Debian kernels in virtual machines: KERNEL=6.1|6.12|7.2|all CASE=NAME|all
	@deploy/deps vm
	@demo/run --install
	@vmtest/matrix -k $(KERNEL) $(CASE:%=-c %) $(if $(WRITE),--write)

# ---- benchmarks
BENCH := $(addprefix $(B)/bench/,hooks wake policy load)
$(B)/tests/bench/hooks.o: | $(B)/hearth.skel.h
$(BENCH): $(B)/bench/%: $(B)/tests/bench/%.o $(B)/tests/bench/common.o $(B)/libhearth-policy.a $(B)/libhearth-lib.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lbpf -lelf -lz -lm -lpthread

bench: all $(BENCH) ## measure the costs and renew docs/benchmarks.md (root; some minutes; LONG=1: more; ONLY="hooks wake")
	@tests/bench/run.py $(if $(LONG),--long) $(if $(ONLY),--only $(ONLY)) --write

bench-zygote: zygote ## measure functions cold and from an image, renew docs/zygote.md (root; some minutes)
	@deploy/deps test zygote
	@tests/bench/zygote.py --write

# ---- manual, completion, installation
MAN := $(patsubst docs/man/%.scd,$(B)/man/%,$(wildcard docs/man/*.scd))
man: $(MAN) ## build the man pages
deps-%:
	@deploy/deps $*
$(B)/man/%: docs/man/%.scd | deps-docs
	@mkdir -p $(@D)
	scdoc < $< > $@.tmp && mv $@.tmp $@

$(B)/hearth.bash: $(B)/hearth
	$< --completion bash > $@.tmp && mv $@.tmp $@

$(B)/%.service: deploy/%.service
	sed 's|@PREFIX@|$(PREFIX)|' $< > $@

D = $(DESTDIR)$(PREFIX)
install: all man $(B)/hearth.bash $(B)/hearthd.service $(B)/hearth-images.service ## install below DESTDIR and PREFIX (default /usr/local)
	install -D -m 755 $(B)/hearthd $(D)/sbin/hearthd
	install -D -m 755 $(B)/hearth-images $(D)/sbin/hearth-images
	install -D -m 755 $(B)/hearth $(D)/bin/hearth
	for page in $(MAN); do install -D -m 644 -t $(D)/share/man/man$${page##*.} $$page || exit; done
	install -D -m 644 -t $(D)/include/hearth include/hearth/zygote.h
	install -D -m 644 -t $(D)/lib $(B)/libhearth-zygote.a $(B)/libhearth-zygote.so.1
	ln -sf libhearth-zygote.so.1 $(D)/lib/libhearth-zygote.so
	install -D -m 644 -t $(D)/lib/hearth user/zygote/python/hearth_lock.py
	install -D -m 755 -t $(D)/lib/hearth user/zygote/python/hearth_zygote.py user/zygote/node/hearth_zygote.js
	install -D -m 644 -t $(D)/lib/hearth $(B)/hearth_zygote.node
	install -D -m 644 $(B)/hearth.bash $(D)/share/bash-completion/completions/hearth
	install -D -m 644 -t $(D)/lib/systemd/system $(B)/hearthd.service $(B)/hearth-images.service
	install -D -m 644 deploy/hearth.sysusers $(D)/lib/sysusers.d/hearth.conf
	for file in hearth.conf images.conf; do test -e $(DESTDIR)/etc/hearth/$$file || \
		install -D -m 644 -t $(DESTDIR)/etc/hearth deploy/$$file || exit; done

# ---- looks
SOURCES = $(shell git ls-files '*.c' '*.h')
SCRIPTS = $(shell git ls-files | xargs grep -lE '^\#!/bin/(ba)?sh')
lint: man $(B)/hearth.skel.h $(PRIORS) | deps-lint ## check format, warnings, shell scripts and man pages
	@clang-format --dry-run -Werror $(SOURCES)
	@$(CC) $(filter-out -MMD -MP,$(CFLAGS)) -Werror -fsyntax-only $(wildcard user/*/*.c user/zygote/*/*.c)
	@shellcheck $(SCRIPTS)

format: ## format all C code
	clang-format -i $(SOURCES)

clean: ## remove build/
	rm -rf $(B)

.PHONY: all help zygote unit tests check vmtest demo bench bench-zygote man install lint format clean
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
