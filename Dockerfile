# One image for every process; the command picks which: ledger, orders, gateway, operator, or `tradeflow …`, the command line.
ARG BASE_IMAGE=python:3.11-slim
# Where the operator's helm comes from: the stage below, or an image that has /usr/local/bin/helm.
ARG HELM_IMAGE=helm-from-source

FROM golang:1.26 AS helm-from-source
# Go's checksum database vouches for the source.
RUN CGO_ENABLED=0 GOBIN=/usr/local/bin go install -trimpath -ldflags '-s -w' helm.sh/helm/v4/cmd/helm@v4.3.1

FROM ${HELM_IMAGE} AS helm

FROM ${BASE_IMAGE} AS build
ARG UV_VERSION=0.13.9
ENV UV_PROJECT_ENVIRONMENT=/opt/tradeflow UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}"
WORKDIR /src
# What the lock file names, first: it changes less often than the project.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --quiet --locked --no-default-groups --all-extras --no-install-project
COPY README.md LICENSE ./
COPY proto proto
COPY operator operator
COPY services services
RUN /opt/uv/bin/uv sync --quiet --locked --no-default-groups --all-extras --no-editable

FROM ${BASE_IMAGE} AS services
# Who may replace the code: nobody, but for `skaffold dev`.
ARG CODE_OWNER=0:0
# Some libraries look for the user's name. Its home is the data folder, which volumes inherit their owner from.
RUN useradd --uid 10001 --user-group --home-dir /data --create-home --shell /usr/sbin/nologin tradeflow
COPY --from=build --chown=${CODE_OWNER} /opt/tradeflow /opt/tradeflow
RUN for process in ledger=services.ledger orders=services.orders gateway=services.gateway operator=tradeflow_operator; do \
      printf '#!/bin/sh\nexec python -m %s "$@"\n' "${process#*=}" > "/usr/local/bin/${process%%=*}" \
      && chmod 755 "/usr/local/bin/${process%%=*}"; \
    done
# The root file system may be read-only: only /data is written, and /tmp by `tradeflow demo` and by helm.
ENV PATH=/opt/tradeflow/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TRADEFLOW_DATA=/data/platform
WORKDIR /data
USER 10001:10001
EXPOSE 8080 8081 8082 8083 8084 9090 9091
CMD ["tradeflow", "--help"]

# With what the operator installs for a TradeFlow resource: its own version of the charts.
FROM services
COPY --from=helm /usr/local/bin/helm /usr/local/bin/helm
COPY charts /opt/tradeflow/charts
