# The planner as an image: docker build -t sla-planner .
# It runs as a user without rights, on a read-only root file system; models that are fitted need a writable /tmp.
# With AI Configurator, for the controller of deployment requests: --build-arg LOCK=requirements-aic.lock
#   docker run --read-only --tmpfs /tmp -v "$PWD/profiling_results:/etc/planner/profile:ro" sla-planner --help
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/planner
ENV PATH=/opt/planner/bin:$PATH
WORKDIR /src
# Dependencies are a layer of their own: it is made anew only when the lock file changes.
COPY requirements.lock requirements-aic.lock ./
ARG LOCK=requirements.lock
RUN pip install -r "${LOCK}"
COPY pyproject.toml README.md LICENSE ./
COPY planner planner
COPY connectors connectors
COPY predictors predictors
COPY profiles profiles
RUN pip install --no-deps . \
    && pip uninstall --yes pip setuptools \
    && find /opt/planner -type d -name tests -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 /opt/planner/lib

FROM python:${PYTHON_VERSION}-slim-bookworm
LABEL org.opencontainers.image.title="sla-planner" \
      org.opencontainers.image.description="SLA-driven autoscaling of disaggregated LLM serving" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/planner /opt/planner
# State of the virtual environment; mount a volume there to keep it.
RUN install -d -o 65532 -g 65532 /var/lib/planner
ENV PATH=/opt/planner/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PLANNER_STATE_DIR=/var/lib/planner \
    PLANNER_PROFILE_RESULTS_DIR=/etc/planner/profile \
    PLANNER_PROMETHEUS_PORT=9085
USER 65532:65532
WORKDIR /tmp
EXPOSE 9085
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PLANNER_PROMETHEUS_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "planner"]
