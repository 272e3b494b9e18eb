# Inkling's service: Python, the base install and the published models; no torch, no pip, no compiler.
#
#   docker build -t inkling .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp --cap-drop ALL inkling
#
# The operators' port is 8001, inside the container. Never publish it: every client that reaches it can load and
# unload models. With --network host set INKLING_HOST=127.0.0.1, or INKLING_KEYS.
#
# The base is a stage of its own, so that tests can measure the size that the image adds to it. Tags can move: a release
# is built with --build-arg BASE=docker.io/library/debian@sha256:…, see "Release an image" in CONTRIBUTING.md.
ARG BASE=docker.io/library/debian:trixie-slim
FROM ${BASE} AS base


FROM base AS runtime

# apt's indexes and caches, and manual pages, are not part of the layer.
RUN apt-get update \
    && apt-get install -y --no-install-recommends -o Dpkg::Options::=--path-exclude='/usr/share/man/*' python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log


FROM runtime AS builder

# Without access to PyPI: --build-arg PIP_INDEX_URL=… and so on. The arguments apply to this stage only.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore

RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils python3-venv

# Dependencies are installed first, so that a change of the service's code reuses this layer. pip refuses a wheel
# whose digest is not listed. /tools builds the service's wheel and the bill of materials; it is not in the image.
WORKDIR /build
COPY requirements ./requirements
RUN python3 -m venv /venv \
    && /venv/bin/pip install --require-hashes --only-binary=:all: -r requirements/service.txt \
    && python3 -m venv /tools \
    && /tools/bin/pip install --require-hashes --only-binary=:all: -r requirements/image.txt

# The service and its metadata, in a separate folder: the last and smallest layers.
COPY pyproject.toml LICENSE README.md ./
COPY inkling ./inkling
COPY service ./service
RUN /tools/bin/pip install --no-deps --no-index --no-build-isolation --target /app .

# Remove files that the service never opens. onnxruntime's Python module contains the runtime; the second
# copy beside it is for C programs, and its tools convert networks. The service does not accept AVIF.
# Debug symbols are nine tenths of uvloop; libraries that auditwheel has rewritten are not stripped,
# because that can break them. Each line fails the build if its target is missing, so the list stays
# up to date.
RUN cd /venv/lib/python3.*/site-packages \
    && rm -r onnxruntime/quantization onnxruntime/tools onnxruntime/transformers onnxruntime/capi/libonnxruntime.so.* \
    && rm -r numpy/f2py numpy/_core/include numpy/_core/lib numpy/random/lib \
    && rm PIL/_avif.*.so pillow.libs/libavif-* \
    && rm -r pip pip-*.dist-info /venv/bin/pip* \
    && strip --strip-unneeded uvloop/*.so httptools/parser/*.so \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete

# Bytecode is compiled here because the root file system is read-only at run time. It is not compared
# with its source, whose times the copy into the next stage may change.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /venv/lib /app

# Bill of materials (CycloneDX): Python packages, Debian packages and networks.
COPY --from=runtime /var/lib/dpkg/status ./dpkg-status
COPY models/SHA256SUMS ./
RUN /tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-format JSON \
        --output-file /app/sbom.cdx.json /venv/bin/python \
    && /tools/bin/python requirements/sbom.py /app/sbom.cdx.json dpkg-status SHA256SUMS


FROM runtime

COPY --from=builder /venv /venv
COPY --from=builder /app /app
COPY models /app/models

# ONNX Runtime sends usage data to its makers unless this is disabled before it is loaded. OpenBLAS
# would start a thread for every core of the host; the networks run in ONNX Runtime, which has a
# setting of its own. INKLING_HOST applies to both ports. The lame duck period is for load balancers.
ENV PATH=/venv/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    OPENBLAS_NUM_THREADS=1 \
    INKLING_HOST=0.0.0.0 \
    INKLING_ADMIN_PORT=8001 \
    INKLING_LAME_DUCK_S=2

WORKDIR /app
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import http.client as h, os, ssl, sys; e = os.environ; at = ('127.0.0.1', int(e['INKLING_ADMIN_PORT'])); c = h.HTTPSConnection(*at, timeout=2, context=ssl._create_unverified_context()) if e.get('INKLING_TLS_CERT') else h.HTTPConnection(*at, timeout=2); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "service"]
