# The router as an image: `make image`, or `docker build --tag chutes-autopilot .`
#
# The stages that build: dependencies from the hashed lock (rebuilt when the lock changes), and the
# application as a wheel (rebuilt when the code changes). What runs has no compiler and no pip. The
# target `stub` is the stand-in for the platform that `docker compose up demo` asks.
# RUN steps that download look for a certificate authority given as the build secret `ca`.
# Bytecode is compiled for what is imported, and never checked against its source: builds normalise
# timestamps.

# Another one by name@digest: --build-arg BASE=debian:bookworm-slim@sha256:…
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Debian takes a version away when it has a better one; and nothing of this stage but its results is shipped.
# hadolint ignore=DL3008,DL3009
RUN apt-get update -qq -o Acquire::Retries=3 \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Acquire::Retries=3 --no-install-recommends \
        binutils ca-certificates python3-venv >/dev/null
WORKDIR /build
COPY locks/runtime.txt locks/private.txt locks/build.txt deploy/image/install.sh ./
RUN --mount=type=secret,id=ca sh install.sh dependencies

FROM dependencies AS application
COPY LICENSE README.md pyproject.toml ./
COPY twisted twisted
COPY autopilot autopilot
COPY deploy/image/imported.py ./
RUN --mount=type=secret,id=ca sh install.sh application

FROM ${BASE} AS router
ARG USER_ID=10001
ARG GROUP_ID=10001
RUN --mount=type=bind,source=deploy/image/system.sh,target=/mnt/system.sh \
    USER_ID="${USER_ID}" GROUP_ID="${GROUP_ID}" sh /mnt/system.sh install
COPY --from=dependencies /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=dependencies /opt/autopilot /opt/autopilot
COPY --from=application /build/application /opt/autopilot
COPY --from=application /build/bytecode /
# What has not passed through a wheel would have the modes of the checkout.
COPY --chmod=644 deploy/image/sbom.cdx.json /opt/autopilot/
ENV PATH=/opt/autopilot/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ADMIN_LISTEN_ADDR=0.0.0.0:8081
WORKDIR /run/autopilot
USER ${USER_ID}:${GROUP_ID}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="chutes-autopilot" \
      org.opencontainers.image.description="Streaming, OpenAI-compatible router with failover for Chutes.ai models" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      chutes-autopilot.sbom="/opt/autopilot/sbom.cdx.json"
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["autopilot", "health"]
# SIGTERM reaches the router through tini, and it drains; tini hands on the exit status.
ENTRYPOINT ["/usr/bin/tini", "--", "twistd", "--nodaemon", "--pidfile=", "--reactor=autopilot", "autopilot"]

FROM router AS stub
COPY --chmod=755 stub_backend /opt/autopilot/stub/stub_backend
ENV PYTHONPATH=/opt/autopilot/stub
EXPOSE 9100
HEALTHCHECK NONE
ENTRYPOINT ["/usr/bin/tini", "--", "python", "-m", "stub_backend"]

FROM router
