# The sidecar's image: one static binary and the authorities of public certificates, from scratch. No shell, no package manager, no root.
#
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t safeguard .
#
# Both stages' bases are arguments, so that a mirror, or a digest, can take their place. Nothing here needs more than the classic builder.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm

FROM ${RUST_IMAGE} AS build
# zlib-ng, a part of Pingora, is built with CMake.
RUN command -v cmake >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends cmake; }
ARG REVISION=unknown
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
COPY . .
# Static against glibc, which resolves names without files of the system; its own target, so that procedural macros stay loadable.
# Paths of the build are taken out of the binary: the same source gives the same bytes wherever it is built.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" && \
    SAFEGUARD_REVISION="$REVISION" \
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=/safeguard --remap-path-prefix=${CARGO_HOME:-/root/.cargo}=/cargo" \
    cargo build --release --locked -p safeguard --target "$target" && \
    mkdir -p /image/etc/ssl/certs /image/etc/safeguard /image/run/safeguard /image/var/lib/safeguard && \
    install -m 0755 "target/$target/release/safeguard" /image/safeguard && \
    install -m 0444 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt && \
    printf 'safeguard:x:65532:65532::/:/safeguard\n' > /image/etc/passwd && \
    printf 'safeguard:x:65532:\n' > /image/etc/group && \
    chown 65532:65532 /image/var/lib/safeguard && chmod 0700 /image/var/lib/safeguard && \
    find /image -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} + && \
    /image/safeguard --version

FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="safeguard" \
      org.opencontainers.image.description="A sidecar that lets AI agents use an MCP server that holds patient data" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 8443 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/safeguard"]
CMD ["run", "--config", "/etc/safeguard"]
