# syntax=docker/dockerfile:1
# pgproof with the client and server programs of several PostgreSQL majors: clients for the dumps, servers for the
# embedded scratch server of drills.
#
#   docker build -t pgproof .                          PostgreSQL 14 to 18 from the PGDG repository
#   docker build -t pgproof --build-arg PGDG=no .      Debian's own PostgreSQL only (where PGDG cannot be reached)
#   docker build -t pgproof --build-arg MAJORS="16 17" .

FROM node:24-trixie-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npx tsc -p tsconfig.build.json && chmod +x dist/main.js
RUN npm prune --omit=dev --ignore-scripts

FROM node:24-trixie-slim
ARG PGDG=yes
ARG MAJORS="14 15 16 17 18"
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    apt-get update -qq; \
    # Without it the packages would make and start a server of their own.
    mkdir -p /etc/postgresql-common; echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; \
    apt-get install -y -qq --no-install-recommends ca-certificates tini locales-all postgresql-common; \
    if [ "$PGDG" = yes ]; then \
      /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y; \
      apt-get install -y -qq --no-install-recommends $(for major in $MAJORS; do echo "postgresql-$major"; done); \
    else \
      apt-get install -y -qq --no-install-recommends postgresql; \
    fi; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/*.log
WORKDIR /opt/pgproof
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY package.json LICENSE README.md ./
COPY config ./config
RUN ln -s /opt/pgproof/dist/main.js /usr/local/bin/pgproof \
    && install -d -o node -g node -m 0711 /var/lib/pgproof /var/lib/pgproof/spool
ENV NODE_ENV=production \
    LOG_FORMAT=json \
    PGPROOF_DRILL__SPOOL=/var/lib/pgproof/spool \
    PGPROOF_HTTP__LISTEN=0.0.0.0:9432
USER node
VOLUME /var/lib/pgproof
EXPOSE 9432
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["node", "-e", "fetch('http://127.0.0.1:9432/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
LABEL org.opencontainers.image.title="pgproof" \
      org.opencontainers.image.description="PostgreSQL backups that prove themselves" \
      org.opencontainers.image.licenses="Apache-2.0"
# tini reaps what a killed pg_restore or scratch server leaves; pgproof itself stops its children first.
ENTRYPOINT ["tini", "--", "pgproof"]
CMD ["serve"]
