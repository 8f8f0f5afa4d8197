# The gateway as a container: built on Debian, run on a small Debian as a user without rights.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# As `just dist` does.
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=/src/.cargo/ordered-link
# Dependencies alone first: this layer is used again until one of them changes. Empty files stand for all that Cargo.toml names.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests benches/ratios \
 && touch src/lib.rs tests/left_out.rs benches/key_timing.rs benches/ratios/main.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --profile dist --locked
# The program, with what it embeds: the files of the demo and the schema. Cargo compares times, so the real files have to look newer.
COPY src src
COPY examples examples
COPY schemas schemas
COPY gateway.example.yaml ./
RUN touch src/lib.rs src/main.rs \
 && cargo build --profile dist --locked --bin sidegate

FROM debian:bookworm-slim
# The roots that the certificates of upstreams are checked against.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /etc/sidegate /var/lib/sidegate \
 && chown 10001:10001 /var/lib/sidegate
COPY --from=build /src/target/dist/sidegate /usr/local/bin/sidegate
LABEL io.modelcontextprotocol.server.name="io.github.sidegate/sidegate" \
      org.opencontainers.image.source="https://github.com/sidegate/sidegate" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
USER 10001:10001
WORKDIR /var/lib/sidegate
EXPOSE 8080
# No HEALTHCHECK: there is no tool in the image to ask with. Orchestrators probe /healthz and /readyz.
ENTRYPOINT ["sidegate"]
# Beyond loopback, so /etc/sidegate/gateway.yaml has to say `auth: none`.
CMD ["serve", "-c", "/etc/sidegate/gateway.yaml", "--listen", "0.0.0.0:8080"]
