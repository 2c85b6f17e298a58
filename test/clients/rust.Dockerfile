# examples/clients/rust, built with Debian's Rust and with dependencies from Debian instead of crates.io.
FROM debian:forky-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends cargo librust-rcgen-dev librust-reqwest-dev librust-serde-dev \
    librust-serde-json-dev librust-tokio-dev librust-tokio-rustls-dev \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /client
RUN mkdir .cargo src \
  && printf '[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "/usr/share/cargo/registry"\n' > .cargo/config.toml \
  && echo 'fn main() {}' > src/main.rs
COPY rust/Cargo.toml .
# The dependencies take most of the time, and are not built again when the client changes.
RUN cargo build --offline
COPY rust/src src
RUN touch src/main.rs && cargo rustc --offline -- --deny warnings && ln -s /client/target/debug/relay-client /usr/local/bin/
