# Each target is a script in scripts/ or a line of cargo; see those for the how and why.
.PHONY: help setup demo test test-versions check faults faults-blind offline-data bench fmt clean-local

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## Get what demo and test need: programs, image model, clips
	@scripts/setup test

demo: ## Take a few real clips, or VIDEOS=/some/folder, through the pipeline; show which look alike
	@scripts/demo

test: ## Run every test, and the examples, on PostgreSQL (a throwaway server, or DATABASE_URL) and on SQLite
	@scripts/test

test-versions: ## Run the library's tests on servers of PostgreSQL 14 to 18, or of VERSIONS="14 18"
	@scripts/test-versions $(VERSIONS)

check: ## What CI checks besides the tests: format, lints, docs, features, dependencies, package, offline data
	@scripts/check

faults: ## Attack real workers and servers, and audit what is left; SEED=… repeats a run, FAULT=a,b runs some of it, AT_ONCE=3 three at a time
	@scripts/setup faults
	cargo build --release --package rowlock-faults
	$${CARGO_TARGET_DIR:-target}/release/rowlock-faults run $(if $(SEED),--seed $(SEED)) $(if $(FAULT),--only $(FAULT)) $(if $(AT_ONCE),--at-once $(AT_ONCE))

faults-blind: ## Show that the fault suite sees: leave a rule out of a copy of the SQL, and it must find the damage
	@scripts/setup faults
	@scripts/faults-blind

offline-data: ## Renew apps/video/.sqlx after a change of a query_as! or a migration
	@scripts/setup postgres
	@scripts/check-offline-data --update

# Other people's queues take part unless PEER=none; nothing is built for workloads that they cannot do.
PEER ?= all
# As in bench/src/plan.rs.
PEER_WORKLOADS = drain drain-small add wake snapshot memory
PEERS = $(if $(or $(if $(WORKLOAD),,every),$(filter $(PEER_WORKLOADS),$(WORKLOAD))),$(if $(filter-out none,$(PEER)),$(PEER)))

# Not part of the workspace: built for the benchmark alone.
BUILD_PEERS = cargo build --locked --release --manifest-path bench/peers/Cargo.toml --target-dir bench/peers/target \
	$(if $(filter all,$(PEERS)),--workspace,$(addprefix --package peer-,$(PEERS)))

# The video application takes as long to build as all the rest: only for the workload that runs it.
BUILD_VIDEO = cargo build --release --package rowlock-video --bins --examples

bench: ## Measure a release build beside raw SQL and other queues; WORKLOAD=… for a part, PEER=… or none for other queues, BENCH=… for options
	@scripts/setup bench
	cargo build --release --package rowlock-bench
	$(if $(or $(filter overhead,$(WORKLOAD)),$(if $(WORKLOAD),,every)),SQLX_OFFLINE=true $(BUILD_VIDEO))
	$(if $(PEERS),$(if $(findstring =,$(PEERS)),,$(BUILD_PEERS)))
	ROWLOCK_VIDEO_MODEL="$${ROWLOCK_VIDEO_MODEL:-$(CURDIR)/.local/model/efficientnet-lite0.onnx}" \
		scripts/with-postgres --durable cargo run --quiet --release --package rowlock-bench -- \
		run $(WORKLOAD) $(if $(PEERS),--peer "$(PEERS)") $(BENCH)

fmt: ## Format the code
	cargo fmt --all

clean-local: ## Delete .local: image model, clips, tools, the demo's databases, results of bench and faults
	rm -rf .local
