FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY sql sql
COPY src src
COPY peer/src/cli peer/src/cli
USER node
# The API. `node src/processes/cleanup.ts` is the cleanup worker, `node src/processes/migrate.ts` applies the migrations.
CMD ["node", "src/processes/api.ts"]

# docker build --build-arg VERSION=… --build-arg REVISION=… . ; last, so that a new version rebuilds nothing else.
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Relay Tracker" \
  org.opencontainers.image.description="The rendezvous service by which peers of a peer-to-peer application find each other" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION"
