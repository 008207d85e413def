ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# Compiles on the machine's own architecture, for any.
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${BUILD_IMAGE} AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
# Neither a Kubernetes client nor libgit2 belongs into the sidecar.
# No cache of what was compiled: Cargo goes by the times of files, which a build of images may well set back.
RUN --mount=type=cache,target=/usr/local/cargo/registry images/compile webhook gitops-reverser-webhook "${TARGETARCH}"

# glibc, libgcc, and no shell.
FROM ${RUN_IMAGE}
COPY --from=build /out/gitops-reverser-webhook /usr/local/bin/gitops-reverser-webhook
USER 65532:65532
EXPOSE 8080 8081 9443
ENTRYPOINT ["/usr/local/bin/gitops-reverser-webhook"]
