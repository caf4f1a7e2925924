# pgproof with the client and server programs of several PostgreSQL majors: clients for the dumps, servers for the
# embedded scratch server of drills.
#
#   docker build -t pgproof .                          PostgreSQL 14 to 18 from the PGDG repository
#   docker build -t pgproof --build-arg PGDG=no .      Debian's own PostgreSQL only (where PGDG cannot be reached)
#   docker build -t pgproof --build-arg MAJORS="16 17" .
#   docker build -t pgproof --build-arg EXTRA_PACKAGES="postgresql-17-postgis-3 postgresql-17-pgvector" .
#
# Drills restore databases with their extensions, so those must be in the image. No BuildKit is needed.

FROM node:24-trixie-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npx tsc -p tsconfig.build.json && chmod +x dist/main.js
# Types and maps are for people who write programs; nothing here reads them.
RUN npm prune --omit=dev --ignore-scripts \
    && find node_modules dist -type f \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.map' \) -delete \
    && find node_modules -depth -type d -empty -delete

FROM node:24-trixie-slim
ARG PGDG=yes
ARG MAJORS="14 15 16 17 18"
ARG EXTRA_PACKAGES=""
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    # Just-in-time compilation is off on scratch servers, and PostgreSQL runs without its library, which needs LLVM.
    printf 'path-exclude=%s\n' '/usr/lib/*/libLLVM*' '/usr/lib/llvm-*' '/usr/lib/*/libz3*' \
      '/usr/lib/postgresql/*/lib/llvmjit*' '/usr/lib/postgresql/*/lib/bitcode/*' \
      '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' > /etc/dpkg/dpkg.cfg.d/pgproof; \
    echo 'path-include=/usr/share/doc/*/copyright' >> /etc/dpkg/dpkg.cfg.d/pgproof; \
    # Without it the packages would make and start a server of their own.
    mkdir -p /etc/postgresql-common; echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; \
    apt-get update -qq; \
    # Databases come with any locale that their server had.
    apt-get install -y -qq --no-install-recommends ca-certificates tini locales-all libjemalloc2 postgresql-common; \
    if [ "$PGDG" = yes ]; then \
      /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y; \
      servers=$(for major in $MAJORS; do echo "postgresql-$major"; done); \
    else \
      servers=postgresql; \
    fi; \
    apt-get install -y -qq --no-install-recommends $servers $EXTRA_PACKAGES; \
    # What installs and builds packages stays outside.
    rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /usr/local/include /opt/yarn-*; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/*; \
    ln -s /opt/pgproof/dist/main.js /usr/local/bin/pgproof; \
    install -d -o node -g node -m 0711 /var/lib/pgproof /var/lib/pgproof/spool
WORKDIR /opt/pgproof
COPY --from=build /build/node_modules ./node_modules
COPY package.json LICENSE ./
COPY deploy/image/healthcheck.mjs ./
COPY config ./config
COPY --from=build /build/dist ./dist
# jemalloc gives back what is freed, at once, from two arenas; glibc keeps what the threads of each backup have freed
# (docs/soak.md). PostgreSQL's programs are started without it.
# A young generation of at most 16 MB: V8 lets it grow to 64 and more, and for how long is a matter of chance.
ENV NODE_ENV=production \
    LD_PRELOAD=libjemalloc.so.2 \
    MALLOC_CONF=narenas:2,dirty_decay_ms:0,muzzy_decay_ms:0 \
    NODE_OPTIONS=--max-semi-space-size=8 \
    LANG=C.UTF-8 \
    LOG_FORMAT=json \
    PGPROOF_DRILL__SPOOL=/var/lib/pgproof/spool \
    PGPROOF_HTTP__LISTEN=0.0.0.0:9432
# The user `node`, by its number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
VOLUME /var/lib/pgproof
EXPOSE 9432
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["node", "/opt/pgproof/healthcheck.mjs"]
# tini reaps what a killed pg_restore or scratch server leaves; pgproof itself stops its children first.
ENTRYPOINT ["tini", "--", "pgproof"]
CMD ["serve"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="pgproof" \
      org.opencontainers.image.description="PostgreSQL backups that prove themselves" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.base.name="docker.io/library/node:24-trixie-slim"
