# The service, for a CPU:   docker build -t ziggurat .
#              for a GPU:   docker build -t ziggurat:cuda \
#                               --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#
# BASE is any Debian-like image with Python 3.11 or later and its venv. TORCH_INDEX says which build
# of PyTorch is taken; CUDA's libraries come with it, the driver from the host. Empty, pip's own
# configuration decides. The versions are those of constraints.txt either way.
ARG BASE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /opt/ziggurat
COPY pyproject.toml constraints.txt ./
# PyTorch by itself: with its exact pin pip takes the build with a local version (+cpu, +cu130)
# before the registry's.
RUN /opt/ziggurat/bin/pip install -c constraints.txt ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} torch setuptools
# The other dependencies before the source, so that a changed source does not install them again.
RUN /opt/ziggurat/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > requirements.txt \
    && /opt/ziggurat/bin/pip install -c constraints.txt -r requirements.txt
COPY LICENSE README.md ./
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
