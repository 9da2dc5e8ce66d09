# syntax=docker/dockerfile:1
# docker build -t contact-bridge .    then: docker run --rm contact-bridge demo
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/bridge && python -m venv /opt/tools
WORKDIR /src
# The lock first: this layer is rebuilt only when a dependency changes.
COPY requirements.txt requirements-build.txt ./
RUN /opt/bridge/bin/pip install --require-hashes -r requirements.txt \
 && /opt/tools/bin/pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY migrations migrations
COPY config config
RUN /opt/tools/bin/python -m hatchling build -t wheel -d /dist \
 && /opt/bridge/bin/pip install --no-deps /dist/*.whl \
 && /opt/bridge/bin/pip uninstall --yes pip

FROM python:3.13-slim
RUN groupadd --system --gid 10001 bridge \
 && useradd --system --uid 10001 --gid bridge --home-dir /var/lib/contact-bridge --create-home bridge
COPY --from=build /opt/bridge /opt/bridge
ENV PATH=/opt/bridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    BRIDGE_STATE_DIR=/var/lib/contact-bridge
# An SQLite mirror of the default name and ./config/bridge.toml are looked for here.
WORKDIR /var/lib/contact-bridge
USER bridge
VOLUME /var/lib/contact-bridge
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + (os.environ.get('BRIDGE_WEB__PORT') or '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["contact-bridge"]
CMD ["run"]
