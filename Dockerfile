# Builds the gateway and puts the one binary, its example configuration and its policies into a small image.
#
#   docker build -t kamf .
#   docker run --rm -p 127.0.0.1:8080:8080 -p 127.0.0.1:8081:8081 -v kamf-data:/var/lib/kamf \
#     -v ./kamf.yaml:/etc/kamf/kamf.yaml:ro kamf
#
# Inside a container `public.listen` and `admin.listen` must name 0.0.0.0, and `log.directory` /var/lib/kamf
# (or `log.brokers` a cluster); the example listens on loopback only.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# librdkafka and its OpenSSL are built from source: g++, make and perl come with this image.
COPY Cargo.toml Cargo.lock clippy.toml ./
COPY gateway gateway
COPY loadtest loadtest
COPY schemas schemas
COPY policies policies
COPY tests tests
RUN cargo build --release --locked -p kamf

FROM debian:bookworm-slim
RUN useradd --system --home-dir /var/lib/kamf --create-home kamf
COPY --from=build /src/target/release/kamf /usr/local/bin/kamf
COPY kamf.yaml /etc/kamf/kamf.yaml
COPY policies /etc/kamf/policies
USER kamf
WORKDIR /var/lib/kamf
ENV KAMF_CONFIG=/etc/kamf/kamf.yaml
EXPOSE 8080 8081
# SIGTERM drains; give it the time that `limits.drain` says before anything harsher.
STOPSIGNAL SIGTERM
ENTRYPOINT ["kamf"]
