# The service, for a CPU:   docker build -t ziggurat .
#              for a GPU:   docker build -t ziggurat:cuda \
#                               --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#
# BASE is any Debian-like image with Python 3.11 or later and its venv. TORCH_INDEX says which build
# of PyTorch is taken; CUDA's libraries come with it, the driver from the host. Empty, pip's own
# configuration has to know of a build without CUDA. Every file has one of the hashes in the locks
# (docker/lock.py writes them), whatever index it comes from, and none is built from source, as what
# building needs would come without hashes.
ARG BASE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /opt/ziggurat
COPY docker/requirements.lock docker/torch-cpu.lock docker/torch-cuda.lock ./
# The dependencies before the source, so that a changed source does not install them again.
RUN case "${TORCH_INDEX}" in */cu[0-9]*) torch=torch-cuda.lock ;; *) torch=torch-cpu.lock ;; esac \
    && /opt/ziggurat/bin/pip install --require-hashes --only-binary :all: \
        ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} -r requirements.lock -r "${torch}"
COPY LICENSE README.md pyproject.toml sbom.py ./
COPY models models
COPY service service
# What only compiles, tests or installs further packages stays behind.
RUN /opt/ziggurat/bin/pip install --no-deps --no-build-isolation . \
    && /opt/ziggurat/bin/pip uninstall -y pip setuptools \
    && cd /opt/ziggurat/lib/python3*/site-packages/torch \
    && find bin -type f ! -name torch_shm_manager -delete \
    && rm -rf include share test

FROM ${BASE}
LABEL org.opencontainers.image.title="ziggurat" \
      org.opencontainers.image.description="HTTP image compression on a learned codec" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN install -d -o 10001 -g 10001 /data
COPY --from=build /opt/ziggurat /opt/ziggurat
# Glibc's heap per thread is what image services are known to grow by over days (imgproxy ships this
# limit too); a minute of load shows no difference. Nothing is written but /data and /tmp.
ENV PATH=/opt/ziggurat/bin:$PATH \
    HOME=/tmp \
    MALLOC_ARENA_MAX=2 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ZIGGURAT_HOST=0.0.0.0 \
    ZIGGURAT_STORE=/data
USER 10001:10001
WORKDIR /tmp
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 CMD ["ziggurat", "health"]
ENTRYPOINT ["ziggurat"]
CMD ["serve"]
