# examples/clients/go, built with Debian's Go.
FROM debian:forky-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends golang-go \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /client
ENV CGO_ENABLED=0
# This takes most of the time, and is not repeated when the client changes.
RUN go build net/http
COPY go .
RUN go vet . && go build -o /usr/local/bin/relay-client .
