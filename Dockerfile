# The gateway on a server, without any desktop. docs/server.md says how to use it; docker-compose.yml does.

FROM python:3.13-slim AS packages
WORKDIR /build
COPY requirements.lock installer/linux/server_lock.py ./
RUN python server_lock.py requirements.lock > server.lock \
 && python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r server.lock

FROM python:3.13-slim
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/gateway
COPY LICENSE ./
COPY resources ./resources
COPY app ./app
RUN printf '#!/bin/sh\nexec /opt/venv/bin/python -m app "$@"\n' > /usr/local/bin/mortdecai-gateway \
 && chmod 755 /usr/local/bin/mortdecai-gateway \
 && /opt/venv/bin/python -m compileall -q app \
 && install -d -o 10001 -g 10001 -m 700 /data

# Settings, secrets and the ledger are below /data: one volume, private to the user that runs the gateway. It listens
# on every address of the container; what is published of that, and to whom, is decided where it is started.
ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/gateway \
    MORTDECAI_HOME=/data \
    MORTDECAI_VAULT=file \
    MORTDECAI_HOST=0.0.0.0 \
    MORTDECAI_PORT=8434
VOLUME /data
EXPOSE 8434
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["/opt/venv/bin/python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/health' % os.environ['MORTDECAI_PORT'], timeout=4)"]
ENTRYPOINT ["mortdecai-gateway"]
CMD ["serve"]
