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
USER node
# The API; `node src/cleanup.ts` is the worker, `node src/migrate.ts` the migrations.
CMD ["node", "src/server.ts"]
