# The commands of the project. `make test` is the one that counts: it installs what it needs and runs everything.

CARGO ?= cargo
heading = @printf '\n== %s\n' "$(1)"

.PHONY: help test prepare demo bench fmt

help:
	@echo 'make test    install what the tests need, then run every check and test'
	@echo 'make demo    three organisations exchange real data on loopback'
	@echo 'make bench   what a decision, an exchange, an entry and a verification cost, beside OPA, nginx and the bare disk'
	@echo 'make fmt     format the Rust sources'

prepare:
	$(call heading,what the tests need)
	@scripts/prepare-tests.sh

test: prepare
	$(call heading,format)
	$(CARGO) fmt --check
	$(call heading,lints)
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(call heading,documentation)
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked --lib
	$(call heading,tests)
	$(CARGO) test --locked
	$(call heading,the reference policy: its worked cases)
	$(CARGO) run --quiet --locked -- policy test policies/dfft
	$(call heading,the reference policy: the same decisions from another engine)
	@scripts/policy-cross-check.sh
	$(call heading,everything holds)

demo:
	$(CARGO) run --release --locked -- demo

bench:
	$(CARGO) bench --locked --bench decision
	$(CARGO) bench --locked --bench exchange
	$(CARGO) bench --locked --bench record
	$(CARGO) bench --locked --bench verify

fmt:
	$(CARGO) fmt
