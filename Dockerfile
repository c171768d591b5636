# One image for the four services and the command line; which one runs is the command:
#   docker build --tag voltbus:0.1.0 .
#   docker run ... voltbus:0.1.0 python -m voltbus_gateway
# The embedded servers are not in it (deploy/image/requirements.py says why).
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python -m venv /opt/build && python -m venv --without-pip /opt/voltbus
WORKDIR /src
COPY requirements.lock ./
COPY deploy/image/requirements.py deploy/image/
# Dependencies first: this layer stays as long as the lock does.
RUN python deploy/image/requirements.py build < requirements.lock > build.txt \
 && python deploy/image/requirements.py runtime < requirements.lock > runtime.txt \
 && /opt/build/bin/pip install --no-deps --require-hashes --requirement build.txt \
 && /opt/build/bin/pip --python /opt/voltbus/bin/python install --no-deps --require-hashes --requirement runtime.txt
COPY libs libs
COPY services services
COPY tools tools
RUN for member in libs/backbone services/gateway services/auth services/config services/agreements tools/voltbus; do \
      /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels "./$member" || exit 1; \
    done \
 && /opt/build/bin/pip --python /opt/voltbus/bin/python install --no-deps --no-index wheels/*.whl

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 voltbus \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin voltbus \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/voltbus
COPY --from=builder /opt/voltbus /opt/voltbus
# Nothing is written at run time: the root file system may be read-only.
ENV PATH=/opt/voltbus/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080 9000
CMD ["voltbus", "--help"]
