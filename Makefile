# Needs Rust, Go, git and a C compiler. Everything else is built or fetched by the targets themselves.
SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help
CARGO ?= cargo
CHART := charts/gitops-reverser
# The pinned Helm, built once into the user's cache.
HELM ?= $(CARGO) run --quiet --bin tool -- helm
ONESHOT ?=
ARGS ?=
ENGINE ?= docker
IMAGE_FLAGS ?=
IMAGE_PREFIX ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOAK_SECONDS ?= 1800
FUZZ_SECONDS ?= 30
TARGET = $(shell $(CARGO) metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build both programs (and what tests them)
	$(CARGO) build --workspace --bins

.PHONY: test
test: build ## Unit, property and integration tests, on a real control plane
	GITOPS_REVERSER_BIN_DIR=$(TARGET)/debug $(CARGO) test --workspace

.PHONY: test-e2e
test-e2e: build ## Install the chart and run its pod; needs no cluster (GITOPS_REVERSER_ENGINE=podman: in its images)
	GITOPS_REVERSER_BIN_DIR=$(TARGET)/debug $(CARGO) test --workspace --test e2e -- --ignored --nocapture

.PHONY: test-flux
test-flux: build ## Let the real Flux apply what is written to a second cluster (builds it first, in about 9 minutes)
	GITOPS_REVERSER_BIN_DIR=$(TARGET)/debug $(CARGO) test -p tests --test it -- --ignored --nocapture secrets::flux

.PHONY: demo
demo: build ## The whole path at work, until Ctrl-C (ONESHOT=1: ends by itself; KUBECONFIG=…: on that cluster)
	$(CARGO) run --quiet --bin demo -- $(if $(filter-out 0,$(ONESHOT)),--oneshot)

.PHONY: bench
bench: ## Measure seeding, lag, memory and what the webhook costs (ARGS=--help: the sizes)
	$(CARGO) build --release -p reverser --bin gitops-reverser
	$(CARGO) build --release -p webhook --bin gitops-reverser-webhook
	$(CARGO) build --release -p webhook --features allows-only --bin allows-only
	GITOPS_REVERSER_BIN_DIR=$(TARGET)/release $(CARGO) bench -p tests --bench bench -- $(ARGS)

.PHONY: soak
soak: build ## Churn with kills, and a look at memory, descriptors and threads (SOAK_SECONDS=1800)
	SOAK_SECONDS=$(SOAK_SECONDS) GITOPS_REVERSER_BIN_DIR=$(TARGET)/debug $(CARGO) test -p tests --test it -- --nocapture faults::soak

# What cargo-fuzz passes too, without the sanitizers that need a nightly compiler. With --target build scripts are left out of it.
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

.PHONY: fuzz
fuzz: ## Feed libFuzzer's inputs to what reads foreign bytes (FUZZ_SECONDS=30 for each); a crash stays in fuzz/work
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --locked --manifest-path fuzz/Cargo.toml --target-dir fuzz/target --target $(HOST)
	for target in admission sanitize credentials; do \
		mkdir -p fuzz/work/$$target; \
		fuzz/target/$(HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
			-artifact_prefix=fuzz/work/$$target- fuzz/work/$$target fuzz/seeds/$$target 2>&1 | grep -v "# Uses:\|ecommended dictionary"; \
	done

.PHONY: crds
crds: ## Write the CRDs, which are made from the Rust types, into the chart
	$(CARGO) run --quiet -p reverser --bin crdgen -- $(CHART)/crds

.PHONY: docs
docs: ## Write docs/configuration.md from the types, the flags and the chart's values
	$(CARGO) run --quiet --bin reference

.PHONY: lint
lint: fmt clippy helm-lint deny ## Formatting, clippy, chart, licences and duplicate dependencies

.PHONY: fmt
fmt:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: helm-lint
helm-lint:
	$(HELM) lint --strict $(CHART)

.PHONY: deny
deny:
	@$(CARGO) deny --version 2>/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny check licenses bans sources

.PHONY: images
images: ## Build both images (ENGINE=docker; IMAGE_FLAGS="--platform linux/amd64,linux/arm64 …")
	$(ENGINE) build $(IMAGE_FLAGS) --file images/reverser.Dockerfile --tag $(IMAGE_PREFIX)gitops-reverser:$(VERSION) .
	$(ENGINE) build $(IMAGE_FLAGS) --file images/webhook.Dockerfile --tag $(IMAGE_PREFIX)gitops-reverser-webhook:$(VERSION) .

.PHONY: clean
clean: ## Remove what was built here; built control planes stay in the user's cache
	$(CARGO) clean
