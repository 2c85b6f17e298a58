# examples/clients/python, with its dependencies from Debian.
FROM debian:forky-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends python3-cryptography python3-openssl \
  && rm -rf /var/lib/apt/lists/*
COPY python /client
RUN ln -s /client/relay_client.py /usr/local/bin/relay-client
