# The steps of .ci/run one by one, and longer ones. `just --list` shows all.

# what to run before each commit
default: format clippy documentation tests

# all that must pass before a change lands
ci:
    .ci/run

# rustfmt, checked
format:
    .ci/run format

# lints, for each set of features
clippy:
    .ci/run clippy

# rustdoc, warnings refused
documentation:
    .ci/run documentation

# all tests
tests:
    .ci/run tests

# the tests whose name has NAME in it
test NAME:
    cargo test --locked {{NAME}}

# the other provider of AES: vectors, and the same bytes
features:
    .ci/run features

# all tests with the other provider of AES: the same bytes
aes-all:
    cargo test --locked --features aws-lc

# schedules of threads, explored
schedules:
    .ci/run schedules

# 300 simulated runs, all crash points, one in 512 of the cuts in recoveries
simulate:
    .ci/run simulator

# a log of a million leaves against another implementation
interop:
    .ci/run interop

# the demo
demo:
    .ci/run demo

# examples, and every command of docs/cli.md and docs/operations.md
documents:
    .ci/run documents

# what operators install: alert rules, dashboard, unit, completions, man pages
deploy:
    .ci/run deploy

# the unit of the service, under systemd
unit:
    .ci/run unit

# the service: lints, tests, every command of docs/service.md
server:
    .ci/run server

# the engine as an object store, and the published suite of object_store
object-store:
    .ci/run object-store

# the engine on object stores, over memory, a directory and a server of S3
objects:
    .ci/run objects

# the main job and random histories over moto, SeaweedFS, Azurite and PostgreSQL
servers:
    .ci/run servers

# the same over memory and a directory, and the package of the adapters
objects-all:
    .ci/run objects-all

# the same over a server of S3, which is installed below the target directory
objects-s3:
    .ci/run objects-s3

# the same over SeaweedFS, Ceph's gateway and Azurite; servers that ignore conditions are refused
objects-more:
    .ci/run objects-seaweed objects-radosgw objects-azure objects-liars

# three hosts as network namespaces, each partition made and healed
objects-hosts:
    .ci/run objects-hosts

# requests and times far away, beside a bare create and read; a store of a million users
objects-figures:
    .ci/run objects-figures

# 400 rounds of kill -9 and of SIGSTOP in the midst of writes, 203 of SIGSTOP while reading, 100 random
# histories, beyond the fault proxy; 24 standbys
objects-long:
    KEYFALL_TURNS=400 KEYFALL_PAUSES=270 KEYFALL_FAR_HISTORIES=100 KEYFALL_STANDBYS=24 \
        RUST_TEST_NOCAPTURE=1 .ci/run objects-s3 objects-seaweed postgres

# a million random histories of up to three engines on an object log, beyond a simulated network
networks:
    KEYFALL_NETWORKS=1000000 cargo test --locked --release --features objects,testing \
        --test objects network::random_histories_lose -- --nocapture

# a store of ten million users on objects, opened cold: takes 18 GB of disk
objects-cold:
    KEYFALL_COLD=10000000 cargo test --locked --features objects,testing --test objects cold:: -- --nocapture

# the same over PostgreSQL, with kills and failovers
postgres:
    .ci/run postgres

# the service over objects, S3 and PostgreSQL: put, erase, kill -9, standby, refused starts
server-places:
    .ci/run server-places

# PostgreSQL beside a bare insert and commit on the same server
postgres-figures BIN="/usr/lib/postgresql/15/bin":
    KEYFALL_FIGURES=2000 KEYFALL_POSTGRES_BIN={{BIN}} cargo test --locked --release --features postgres,testing --test objects figures -- --nocapture

# the service against its document, by schemathesis
contract:
    .ci/run contract

# the page of a user, in Chromium
browser:
    .ci/run browser

# fuzz targets, 40 seconds
fuzz:
    .ci/run fuzz

# a million simulated runs
million:
    cargo run --locked --release --features testing --bin keyfall-simulate -- --seeds 1000000

# crashes at every point: simulated, with all cuts in recoveries; of power; by kill -9
crash-points:
    cargo run --locked --release --features testing --bin keyfall-simulate -- --seeds 20000 --crash-points
    KEYFALL_POWER_CUTS=40000 cargo test --locked power
    KEYFALL_KILLS=5000 cargo test --locked --release killed
    KEYFALL_KEYHOLDER_ROUNDS=300 cargo test --locked killed_and_started

# threads: linearizable histories, explored schedules, races
threads:
    KEYFALL_LINEAR=5000 cargo test --locked --release linear
    KEYFALL_SCHEDULES=10000 cargo test --locked --release --features shuttle --test explore
    KEYFALL_RACES=10000 cargo test --locked orphan

# the protocol's models, the larger runs
models:
    KEYFALL_MODEL=large cargo test --locked --release protocol

# a million changes of a certificate, none of which may verify
forgeries:
    KEYFALL_MUTATIONS=1000000 cargo test --locked --release random_changes

# import to restore, end to end, on recordings of your own
corpus DIR:
    KEYFALL_CORPUS={{DIR}} cargo test --locked --features objects,testing corpus

# every benchmark; KEYFALL_BENCH_DIR names the disk
bench:
    cargo bench --locked --bench engine
    cargo bench --locked --bench geometry
    cargo bench --locked --bench lineage
    cargo bench --locked --bench retention
    cargo bench --locked --bench proof
    cargo bench --locked --bench names
    cargo bench --locked --bench asynchronous
    cargo bench --locked --bench realm
    cargo bench --locked -p keyfalld --bench service

# beside other stores
compare:
    cargo run --release --manifest-path benches/compare/Cargo.toml -- --svg benches/compare/erase.svg

# small records of many users, beside envelope encryption on other stores
compare-many:
    cargo run --release --manifest-path benches/compare/Cargo.toml -- --many

# an hour for each fuzz target
fuzz-long SECONDS="3600":
    RUSTC_BOOTSTRAP=1 cargo fuzz run -s none engine -- -max_total_time={{SECONDS}} -max_len=641
    RUSTC_BOOTSTRAP=1 cargo fuzz run -s none certificate -- -max_total_time={{SECONDS}} -max_len=64
    RUSTC_BOOTSTRAP=1 cargo fuzz run -s none decoders -- -max_total_time={{SECONDS}}

# mutation testing of what the promises stand on (.cargo/mutants.toml)
mutants:
    KEYFALL_SEEDS=600 cargo mutants

# licences, advisories, bans of dependencies
deny:
    cargo deny check
