# The image that the runner starts: one static binary, the CA roots, nothing else.
#
# The base images are the published ones; where no registry can be reached, `cargo xtask image` first makes stand-ins
# under the same names. Works with the legacy builder and with BuildKit.
ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM ${RUST_IMAGE} AS build
# libssh2's OpenSSL is built from source: it needs make and a whole perl.
RUN command -v make >/dev/null && perl -MFindBin -MIPC::Cmd -e1 2>/dev/null \
    || { apt-get update && apt-get install -y --no-install-recommends make perl; }
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY lab/Cargo.toml lab/
COPY xtask/Cargo.toml xtask/
COPY action.yml ./
COPY src src
# The other members are named by the workspace but not built here.
RUN mkdir -p lab/src xtask/src benches && touch lab/src/lib.rs benches/pack.rs && echo 'fn main() {}' >xtask/src/main.rs
# `release` is what is shipped; CI tries the image with `ci`, which compiles in a third of the time.
ARG PROFILE=release
# The explicit target matters: build scripts and procedural macros must not get the flags. A static executable relocates itself; packed
# (DT_RELR, in glibc since 2.36), the table of that is some 700 kB smaller.
RUN target="$(uname -m)-unknown-linux-gnu" \
    && RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs' cargo build --profile "$PROFILE" --features vendored-openssl \
        --locked --package gated-deploy --target "$target" \
    && mkdir -p /image/usr/local/bin /image/etc/ssl/certs /image/tmp \
    && cp "target/$target/$PROFILE/gated-deploy" /image/usr/local/bin/ \
    && ln -s gated-deploy /image/usr/local/bin/gated-deploy-post \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && chmod 1777 /image/tmp

FROM scratch
COPY --from=build /image/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# Runs as root, as the runner's contract asks: its mounted files belong to the runner's user.
ENTRYPOINT ["/usr/local/bin/gated-deploy"]
