# A static binary on nothing: no shell, no package manager, a numeric user.
#
#   docker build -t roletap .
#   docker run --network host -v /etc/roletap:/etc/roletap:ro -v roletap-tokens:/run/roletap roletap
#
# SDKs speak plain HTTP to loopback only, so a sink has to share the network namespace: the host's, or the pod's.
ARG BASE=docker.io/library/rust:1-bookworm
FROM ${BASE} AS build
WORKDIR /src
COPY . .
# glibc, statically: its allocator and resolver cost nothing here, and musl's allocator costs a third of a request.
RUN RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target x86_64-unknown-linux-gnu \
 && mkdir -p /out/run/roletap /out/etc/ssl/certs \
 && cp target/x86_64-unknown-linux-gnu/release/roletap /out/roletap \
 && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

FROM scratch
LABEL org.opencontainers.image.title="roletap" \
      org.opencontainers.image.description="AWS role credentials on tap" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chown=65532:65532 /out/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
VOLUME ["/run/roletap"]
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/roletap", "status", "--ready"]
ENTRYPOINT ["/roletap"]
CMD ["run"]
