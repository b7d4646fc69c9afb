# Trunkline: make help says what there is.

GO ?= go
# libopusfile is not needed: Opus comes in RTP packets, not in files.
export GOFLAGS := -tags=nolibopusfile

PROGRAMS := ./routerd ./routerd/cmd/routerctl ./mediad ./loadtest
GO_LEAST := 1.26

.DEFAULT_GOAL := help
.PHONY: help fuzz twin demo test load up check scenarios sim build setup go clean bench-acd bench-export bench-failover bench-media-failover bench-sip bench-media

help:
	@echo 'make demo   place ten real calls through the whole tier and kill parts of it'
	@echo 'make test   everything that guards the project, about 18 minutes'
	@echo 'make scenarios  the promises of loadtest/scenarios, by SIPp; NAMES="call-* hold-*" for some'
	@echo 'make load   4 000 calls a minute through the whole tier for 60 s'
	@echo 'make bench-acd  the state machine at full size: commands a second, allocations, what an offer costs, snapshots'
	@echo 'make bench-export  an hour-long call out of its recording, as WAV and as Ogg'
	@echo 'make bench-failover  how long the log is away: kill -9, SIGSTOP, hand-over, a steady load; FOR=10m for the long one'
	@echo 'make bench-media-failover  200 calls while media workers are killed, stopped, cut off and drained: the gap at each far end'
	@echo 'make bench-sip  routers alone under SIPp: latencies, calls a second, open calls held; FOR=60s, HOLD=10m for the long one'
	@echo 'make bench-media  the media worker beside rtpengine: processor time a packet, loss, memory, recording; FOR=4s CALLS=100 for a short one'
	@echo 'make up     keep the tier running until Ctrl-C'
	@echo 'make sim    SEEDS=1000 seeds of the simulator: kills, pauses, cuts, lost writes, in virtual time; SEED=n prints one'
	@echo 'make twin   a million commands beside the naive twin of the state machine'
	@echo 'make fuzz   every parser of what comes from outside, FOR=30s each; ONLY=sip those whose name or folder has it'
	@echo 'make check  formatting, vet, staticcheck, import rules, kamailio -c, quick tests'
	@echo 'make build  programs into bin/'
	@echo 'make setup  install or build what is missing on this machine (the others do it too)'
	@echo 'make clean  remove bin/ and out/ (the Debian 13 root stays in the cache folder)'

demo: build
	@bin/loadtest demo

load: build
	@bin/loadtest load

# NAMES are names or patterns.
scenarios: build
	@bin/loadtest scenario $(or $(NAMES),all)

up: build
	@bin/loadtest up

# How long the steady load of bench-failover lasts.
FOR ?= 60s

# It needs neither Kamailio nor the daemons, so it sets nothing up.
bench-failover: go
	@mkdir -p bin
	$(GO) build -o bin/raftproof ./loadtest/raftproof
	@bin/raftproof -for $(FOR)

# The whole tier in a network namespace of its own. FAIL passes flags, as FAIL='-calls 60 -kills 10'.
bench-media-failover: build
	@$(GO) build -o bin/mediafail ./loadtest/mediafail
	@bin/mediafail $(FAIL)

# It wants a quiet machine: what it measures is processor time, but others cool its caches.
bench-acd: go
	@mkdir -p bin
	@$(GO) build -o bin/acdproof ./loadtest/acdproof
	@bin/acdproof

# Decoding is what it costs, one thread for each side: it wants two processors to itself.
bench-export: go
	@mkdir -p bin
	@$(GO) build -o bin/exportproof ./mediad/internal/record/exportproof
	@bin/exportproof

# Real routers, SIPp on both sides, no edges and no media. HOLD=10m is the promise; SIPP passes further
# flags, as SIPP='-rate 200'.
bench-sip: build
	@$(GO) build -o bin/sipproof ./loadtest/sipproof
	@bin/sipproof -for $(FOR) -hold $(or $(HOLD),60s) $(SIPP)

# Four and a half minutes; it installs Debian's rtpengine beside Kamailio the first time. FOR is how long each
# daemon's calls talk in each cell, CALLS=100,300 how many there are, MEDIA passes further flags.
bench-media: build
	@$(GO) build -o bin/mediaproof ./loadtest/mediaproof
	@bin/mediaproof $(if $(filter-out file undefined,$(origin FOR)),-for $(FOR)) $(if $(CALLS),-calls $(CALLS)) $(MEDIA)

# Each seed is one site and one minute with its own faults; FROM=n begins elsewhere.
sim: go
	@mkdir -p bin
	@$(GO) build -o bin/simulate ./routerd/internal/sim/simulate
	@bin/simulate $(if $(SEED),-seed $(SEED),-seeds $(or $(SEEDS),1000) -from $(or $(FROM),1) -out out)

# The scenarios say how many there are; the next runs the demo against daemons built with the race detector.
test: check
	$(GO) test $(GO_TEST_FLAGS) -race $$($(GO) list ./... | grep -v /loadtest)
	$(GO) test $(GO_TEST_FLAGS) -v ./loadtest/scenarios
	$(GO) test $(GO_TEST_FLAGS) -race -p 1 $$($(GO) list ./loadtest/... | grep -v /loadtest/scenarios)
	$(GO) test ./routerd/acd/acdtest -run TestTwin -steps 1000000 -v
	$(GO) test ./routerd/internal/sim -run TestTakeoverAtEveryPoint -v

# Each parser of what comes from outside for FOR; docs/parsers.md lists them. What a target finds
# it leaves in testdata/fuzz beside it, as a test from then on.
fuzz: go
	@printf '%-28s %-22s %12s %8s  %s\n' package target executions kept result; failed=0; \
	for at in $$(grep -rno --include='*_test.go' '^func Fuzz[A-Za-z]*' . | grep '$(or $(ONLY),.)' | sed 's/:[0-9]*:func /:/'); do \
		dir=$$(dirname $${at%%:*}); target=$${at##*:}; result=ok; \
		$(GO) test $$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FOR) -parallel 1 >bin/fuzz.log 2>&1 || { result=FAILED; failed=1; cp bin/fuzz.log bin/fuzz-$$target.log; }; \
		printf '%-28s %-22s %12s %8s  %s\n' $${dir#./} $$target $$(grep -o 'execs: [0-9]*' bin/fuzz.log | tail -n 1 | cut -d' ' -f2) $$(grep -o 'total: [0-9]*' bin/fuzz.log | tail -n 1 | cut -d' ' -f2) $$result; \
	done; exit $$failed

# A million commands of the random world beside the naive twin; a failure prints its seed.
twin: go
	$(GO) test ./routerd/acd/acdtest -run TestTwin -steps $(or $(STEPS),1000000) -v

check: build
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './out/*')); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck -tags nolibopusfile ./...
	$(GO) test $(GO_TEST_FLAGS) -run 'Import|Accept|Mirror|Routing|Debian' ./loadtest/lab
	$(GO) test $(GO_TEST_FLAGS) -short $$($(GO) list ./... | grep -v /loadtest)

build: setup
	@mkdir -p bin
	$(GO) build -o bin/ $(PROGRAMS)

# setup is built without C, for it installs the C compiler.
setup: go
	@CGO_ENABLED=0 $(GO) build -o bin/setup ./loadtest/lab/setup
	@bin/setup

go:
	@least=$(GO_LEAST); have=$$($(GO) env GOVERSION 2>/dev/null | sed 's/^go//'); \
	if [ "$$(printf '%s\n%s\n' "$$least" "$$have" | sort -V | head -n 1)" != "$$least" ]; then \
		echo "make: Go $$least or newer is needed and this machine has $${have:-none}: unpack the release from go.dev/dl into /usr/local and put /usr/local/go/bin first on PATH" >&2; exit 1; fi

clean:
	rm -rf bin out
