# syntax=docker/dockerfile:1
# One image for web, workers, scheduler and migrations (target `app`), one for nginx (`proxy`), one for the bundled
# painter (`space`). compose.yaml starts them together; docs/docker.md tells what was tried.

FROM python:3.11-slim-bookworm AS environment
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /app/.venv \
    && /app/.venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --requirement /tmp/requirements.txt

FROM python:3.11-slim-bookworm AS space-environment
COPY space/requirements.txt /tmp/requirements.txt
RUN python -m venv /space/.venv \
    && /space/.venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --requirement /tmp/requirements.txt

FROM python:3.11-slim-bookworm AS space
RUN useradd --system --uid 10001 --home-dir /tmp painter && mkdir -p /cache && chown painter /cache
COPY --from=space-environment /space/.venv /space/.venv
COPY space /space
WORKDIR /space
USER painter
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 GRADIO_ANALYTICS_ENABLED=False NUMBA_CACHE_DIR=/cache
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s \
    CMD ["/space/.venv/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/config', timeout=4)"]
CMD ["/space/.venv/bin/python", "app.py"]

FROM nginx:1.26-bookworm AS proxy
COPY deploy /deploy
RUN /deploy/docker/render.sh /etc

FROM python:3.11-slim-bookworm AS app
RUN useradd --system --uid 10001 --home-dir /app ghibli && install -d -o ghibli -g ghibli -m 0755 /app/instance
COPY --from=environment /app/.venv /app/.venv
COPY . /app
RUN /app/.venv/bin/python -m compileall -q /app/ghibli_flask /app/jobs /app/scripts
WORKDIR /app
USER ghibli
ENV PATH=/app/.venv/bin:$PATH HOST=0.0.0.0 PORT=3000 INSTANCE_DIR=/app/instance PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
VOLUME /app/instance
EXPOSE 3000
# A container host asks the same address; /api/health answers 503 when no order can be accepted.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["/app/.venv/bin/python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/api/health', timeout=4)"]
# The shell fills in PORT, which container hosts choose, and gives its place to gunicorn, which gets the signals.
CMD ["sh", "-c", "exec gunicorn wsgi:app --bind $HOST:$PORT --worker-class gthread --workers 2 --threads 16 --timeout 30 --no-control-socket"]
