# A small image that runs `gateway serve` as an unprivileged user.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml requirements.lock README.md ./
COPY gateway gateway
RUN python -m venv /opt/gateway \
 && /opt/gateway/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/gateway/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 gateway && useradd --system --uid 10001 --gid gateway --home-dir /var/lib/gateway gateway \
 && install -d -o gateway -g gateway -m 0700 /var/lib/gateway
COPY --from=build /opt/gateway /opt/gateway
COPY mappings /usr/share/gateway/mappings
COPY profiles /usr/share/gateway/profiles
USER gateway
WORKDIR /var/lib/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8443 2575
HEALTHCHECK --interval=10s --timeout=3s CMD ["gateway", "status", "--live", "--config", "/etc/gateway/gateway.toml"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--config", "/etc/gateway/gateway.toml"]
