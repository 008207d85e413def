ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# Compiles on the machine's own architecture, for any.
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${BUILD_IMAGE} AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
# libgit2, libssh2, OpenSSL and zlib are compiled in.
# No cache of what was compiled: Cargo goes by the times of files, which a build of images may well set back.
RUN --mount=type=cache,target=/usr/local/cargo/registry images/compile reverser gitops-reverser "${TARGETARCH}"

# glibc, libgcc, CA certificates, and no shell.
FROM ${RUN_IMAGE}
COPY --from=build /out/gitops-reverser /usr/local/bin/gitops-reverser
USER 65532:65532
EXPOSE 8090 8091
ENTRYPOINT ["/usr/local/bin/gitops-reverser"]
