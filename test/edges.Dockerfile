# Debian's own HAProxy and Caddy, for the tests of examples/.
FROM debian:bookworm-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends caddy haproxy openssl \
  && rm --recursive --force /var/lib/apt/lists/*
