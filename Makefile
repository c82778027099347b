# SPDX-License-Identifier: Apache-2.0

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS  = -X main.version=$(VERSION)
TOOLS    = .cache/bin
# The same for everything, so that nothing is compiled twice.
export CGO_ENABLED = 0
export GOFLAGS     = -trimpath

LINT     = $(TOOLS)/golangci-lint
LINT_VERSION = v2.15.0

GOTESTSUM = $(TOOLS)/gotestsum
GOTESTSUM_VERSION = v1.13.0
# How often what failed runs again, by itself: the run then fails only if that
# does, too, and in any case names it. Not at all where more than three tests fail.
RERUNS ?= 0
# Before it: packages to test, apart by spaces. After it: flags of go test.
TEST = $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg --hide-summary skipped --rerun-fails=$(RERUNS) --rerun-fails-max-failures 3 --packages

GENERATED = correlator/incident/*.json docs/incident-reference.md docs/metrics.md deploy/helm/renat/dashboards internal/web/api/openapi.json internal/web/page/static '*_bpfel*.go' '*_bpfel*.o'

RECORDING = internal/recording/testdata/cilium-1.20.2

.PHONY: build lab demo page replay test test-kernels test-tools tools kernels lint screenshots generate bench cpu fleet fuzz image sbom release clean

build: ## Build bin/renat.
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

LAB = $(TOOLS)/anywhere bin/renat

lab: build $(TOOLS)/anywhere ## Break connections and score what renat says, here or in a virtual machine: make lab ARGS='--restore both'.
	@$(LAB) $(ARGS)

demo: build $(TOOLS)/anywhere ## Break connections for a minute: incidents as they happen, the score, then the page. Without root and QEMU, of a recording.
	@rm -rf .cache/demo
	@RENAT_LAB_RECORD=.cache/demo/recording $(LAB) $(ARGS); code=$$?; [ $$code = 0 ] || [ $$code = 3 ] || exit $$code; \
		if [ $$code = 3 ]; then echo 'So a recording is replayed instead.'; exec $(MAKE) --no-print-directory replay; fi; \
		if [ -d .cache/demo/recording ]; then exec $(MAKE) --no-print-directory page RECORDING=.cache/demo/recording; fi; \
		echo; echo 'The virtual machine is gone, and its incidents with it: the page shows a recording.'; \
		exec $(MAKE) --no-print-directory page

page: ## Serve the page with the incidents of a recording, as if they were now, until Ctrl-C; where nobody looks, say how.
	@if [ -t 1 ]; then exec bin/renat hub --demo $(RECORDING); \
		else echo 'See it in a browser, at http://127.0.0.1:9972:  bin/renat hub --demo $(RECORDING)'; fi

.PHONY: $(TOOLS)/anywhere
$(TOOLS)/anywhere:
	@$(GO) build -o $@ ./internal/yard/lab/anywhere

replay: build ## Replay a recording into an embedded NATS server and show what broke.
	@rm -rf .cache/demo
	@echo '$$ renat replay $(RECORDING) --state-dir .cache/demo > /dev/null'
	@bin/renat replay $(RECORDING) --state-dir .cache/demo > /dev/null
	@echo
	@echo '$$ renat observe --state-dir .cache/demo --last 8'
	@bin/renat observe --state-dir .cache/demo --last 8
	@echo
	@echo '$$ renat observe --state-dir .cache/demo --kind renat --last 1 -o dict'
	@bin/renat observe --state-dir .cache/demo --kind renat --last 1 -o dict
	@echo
	@$(MAKE) --no-print-directory page

ALERTMANAGER = ./internal/hub -- -timeout 15m -tags alertmanager -run RealAlertmanager
OLDEST_NATS  = ./internal/hub -- -timeout 15m -tags oldnats -run OldestServer

test: $(GOTESTSUM) ## Run every test, those that need a kernel in virtual machines. As root it installs what Debian 12 lacks for them.
	@.ci/packages
	$(GO) vet ./...
	$(GO) vet -tags vmtest ./...
	$(GO) vet -tags chromium ./internal/web/page
	$(TEST) "$$($(GO) list ./... | grep -v internal/yard/vm | tr '\n' ' ')"
	$(TEST) ./internal/yard/vm -- -timeout 60m -count 1 # alone: it takes both cores; its result depends on more than its package
	$(MAKE) --no-print-directory test-tools
	$(TEST) $(ALERTMANAGER)
	$(TEST) $(OLDEST_NATS)
	cd deploy/check && $(GO) vet ./... && $(CURDIR)/$(TEST) ./... -- -count 1 -timeout 20m # what they test is outside their module
	cd internal/web/page/web && npm ci --ignore-scripts --silent # axe-core
	$(TEST) ./internal/web/page -- -timeout 15m -tags chromium

# Eight kernels, or some: make test-kernels KERNELS='5.10-arm64 7-amd64'.
KERNELS ?= 5.10-amd64 5.10-arm64 6.1-amd64 6.1-arm64 6.12-amd64 6.12-arm64 7-amd64 7-arm64

test-kernels: $(GOTESTSUM) ## Run every test that needs a kernel on each kernel, of which make test runs most on two: hours, on two cores.
	@.ci/packages
	RENAT_VM_KERNELS='$(KERNELS)' RENAT_VM_RUN='^TestPrivileged' $(TEST) ./internal/yard/vm -- -timeout 12h -count 1 -run '^Test(Kernels|Lab)$$'

# Cilium's command line tools, built with a go.mod of their own: ours and what
# they need besides, so that what both need is compiled once.
CILIUM_VERSION = $(shell $(GO) list -m -f '{{.Version}}' github.com/cilium/cilium)
HUBBLE_TOOLS   = .cache/hubble-$(CILIUM_VERSION)

test-tools: $(HUBBLE_TOOLS)/hubble $(GOTESTSUM) ## Compare what hubble and hubble-relay show with and without the Observer proxy.
	$(GO) vet -tags hubbletools ./hubble/proxy ./cmd/renat
	HUBBLE_TOOLS=$(CURDIR)/$(HUBBLE_TOOLS) $(TEST) './hubble/proxy ./cmd/renat' -- -timeout 5m -tags hubbletools -run StockTools

# What only they need is not optimized, which takes a quarter off the time.
THEIRS = github.com/cilium/cilium/pkg github.com/cilium/cilium/hubble github.com/cilium/cilium/hubble-relay github.com/cilium/statedb \
	github.com/cilium/hive k8s.io/client-go/kubernetes k8s.io/client-go/applyconfigurations k8s.io/apiextensions-apiserver \
	github.com/google/cel-go github.com/gopacket github.com/antlr4-go github.com/gogo go.etcd.io go.opentelemetry.io

$(HUBBLE_TOOLS)/hubble: # takes minutes the first time
	mkdir -p $(HUBBLE_TOOLS)
	flock $(HUBBLE_TOOLS) sh -ec '[ ! -x $@ ] || exit 0; cp go.mod $(HUBBLE_TOOLS)/tools.mod; cp go.sum $(HUBBLE_TOOLS)/tools.sum; \
		$(GO) build -mod=mod -modfile=$(HUBBLE_TOOLS)/tools.mod -ldflags="-s -w" $(foreach p,$(THEIRS),-gcflags="$p/...=-N -l -dwarf=false") \
			-o $(HUBBLE_TOOLS)/ github.com/cilium/cilium/hubble-relay github.com/cilium/cilium/hubble'

tools: kernels $(LINT) $(HUBBLE_TOOLS)/hubble # what takes minutes to fetch or compile the first time, for .ci/run
	$(GO) -C deploy/check test -run '^$$' ./...
	GOARCH=arm64 $(GO) build -o /dev/null ./cmd/...
	$(GO) test $(subst --,,$(ALERTMANAGER))
	$(GO) test $(subst --,,$(OLDEST_NATS))

lint: $(LINT) generate ## Check style, import rules and that generated files are fresh.
	$(LINT) run
	cd deploy/check && $(CURDIR)/$(LINT) run --config $(CURDIR)/.golangci.yml
	$(GO) mod tidy -diff
	$(GO) -C deploy/check mod tidy -diff
	git diff --exit-code -- $(GENERATED)

kernels: # of the virtual machines
	$(GO) test ./internal/yard/vm -run DebianHasThem

$(LINT):
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

$(GOTESTSUM):
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)

screenshots: ## Take the pictures of the page in docs/img; needs Debian's chromium.
	$(GO) test -tags chromium -run Screenshots ./internal/web/page -screenshots $(CURDIR)/docs/img

generate: ## Regenerate what is generated; needs Debian 12's clang, llvm and libbpf-dev, and npm for the page.
	$(GO) generate ./...
	$(GO) generate -tags vmtest ./kprobes
	$(GO) -C deploy/check generate ./dashboards

bench: ## Run the benchmarks quoted in docs/performance.md.
	$(GO) test ./... -run '^$$' -bench . -benchmem -count $(or $(COUNT),6)

cpu: ## Compare the CPU cost of reading flows (see docs/performance.md).
	$(GO) run ./hubble/bench

fleet: ## Try thousands of nodes on this machine: make fleet ARGS='-nodes 1000 -incidents 50000' (see docs/scale.md).
	@$(GO) run ./internal/yard/fleet/simulate $(ARGS)

FUZZTIME ?= 30s
fuzz: ## Fuzz every fuzz test for FUZZTIME.
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for f in $$($(GO) test $$dir -list '^Fuzz' | grep ^Fuzz); do \
			echo "$$dir $$f"; $(GO) test $$dir -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s || exit 1; \
		done; \
	done

# One platform makes an image that any Docker loads: make image PLATFORMS=linux/amd64 IMAGE=registry.example.com/team/renat.
PLATFORMS ?=
IMAGE     ?= renat
RELEASE    = $(GO) -C deploy/check run ./release -name '$(IMAGE)' $(if $(PLATFORMS),-platforms '$(PLATFORMS)')

image: ## Make the image that deploy/Dockerfile describes, without a container engine: dist/VERSION/renat_VERSION_image.tar.
	$(RELEASE) -version '$(VERSION)' image

sbom: ## Write the bills of materials of the commands, as CycloneDX, to dist/VERSION.
	$(RELEASE) -version '$(VERSION)' sbom

release: ## Make a release in dist/VERSION, of the commit's tag: make release; or make release VERSION=v1.0.0. Publishes nothing.
	$(RELEASE) $(if $(filter file,$(origin VERSION)),,-version '$(VERSION)')

clean: ## Remove what was built.
	rm -rf bin dist .cache
