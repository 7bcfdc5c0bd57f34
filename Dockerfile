# A static binary on nothing: no shell, no package manager, a numeric user.
#
#   docker build -t roletap --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .
#   docker run --network host -v /etc/roletap:/etc/roletap:ro -v roletap-tokens:/run/roletap roletap
#
# SDKs speak plain HTTP to loopback only, so a sink has to share the network namespace: the host's, or the pod's.
# BASE needs Rust, a C compiler and CA certificates; tests/container/run puts one together itself.
ARG BASE=docker.io/library/rust:1.95-bookworm
FROM ${BASE} AS build
ARG PROFILE=release
WORKDIR /src
COPY . .
# glibc, statically: its allocator and resolver cost nothing here, and musl's allocator costs a third of a request. There
# is no nsswitch.conf beside it, so it loads nothing at run time.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile ${PROFILE} --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && mkdir -p /out/run/roletap /out/etc/roletap /out/etc/ssl/certs \
 && cp target/*/"$([ "${PROFILE}" = dev ] && echo debug || echo "${PROFILE}")"/roletap /out/roletap \
 && strip --strip-all /out/roletap \
 && cp -L /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="roletap" \
      org.opencontainers.image.description="AWS role credentials on tap: assumes roles ahead of expiry, serves them to unmodified SDK clients" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chown=65532:65532 /out/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
VOLUME ["/run/roletap"]
# A required role may stay pending for half a minute before the start counts as done.
HEALTHCHECK --interval=10s --timeout=6s --start-period=40s CMD ["/roletap", "status", "--ready"]
ENTRYPOINT ["/roletap"]
CMD ["run"]
