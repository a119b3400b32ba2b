# Recipes for people and for CI. `just` alone lists them.

default:
    @just --list

# Format, lints, docs, contract, tests: what CI runs.
ci:
    bash .ci/run

# All tests.
test:
    cargo test

# Formatting and lints; warnings are errors.
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# The API docs; broken links are errors.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# The contract against buf's STANDARD and COMMENTS rules.
proto:
    npx --yes @bufbuild/buf@1.75.0 lint proto

# Manifests, unit, Dockerfile and Envoy's configuration; needs what `cargo build` makes.
deploy:
    bash .ci/deploy

# Train the default model; see training/README.md.
train data mpnet:
    training/default {{data}} {{mpnet}} models/news-en

# Known holes, licences and sources of all packages; builds cargo-deny where it is missing.
deny *checks:
    .ci/deny {{checks}}

# Bytes that break a promise, looked for ten minutes a target; needs cargo-fuzz.
fuzz *arguments:
    fuzz/run {{arguments}}

# Half an hour of good and hostile clients against a release build.
soak *arguments:
    bench/soak/run {{arguments}}

# THIRD-PARTY.txt anew, after a change of Cargo.lock.
licenses:
    .ci/licenses
