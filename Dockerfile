# Inkling's service: Python, the base install and the published models; no torch, no pip, no compiler.
#
#   docker build -t inkling .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp --cap-drop ALL inkling
#
# Operators are answered at port 8001, inside: never publish it, as whoever reaches it manages the models. With
# --network host give INKLING_HOST=127.0.0.1, or INKLING_KEYS.
#
# The base has a stage of its own so that tests can measure what the image adds to it. A tag can be moved: a release
# is built with --build-arg BASE=docker.io/library/debian@sha256:…, see "Release an image" in CONTRIBUTING.md.
ARG BASE=docker.io/library/debian:trixie-slim
FROM ${BASE} AS base


FROM base AS runtime

# apt's indexes and caches, and the manuals that a slim base leaves out, stay outside the layer.
RUN apt-get update \
    && apt-get install -y --no-install-recommends -o Dpkg::Options::=--path-exclude='/usr/share/man/*' python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log


FROM runtime AS builder

# On a closed network: --build-arg PIP_INDEX_URL=… and so on. They reach this stage only.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore

RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils python3-venv

# Dependencies come first and alone, so that a change of the service's code reuses this layer. pip refuses a wheel
# whose digest is not listed. /tools builds the service's wheel and the bill of materials, and stays here.
WORKDIR /build
COPY requirements ./requirements
RUN python3 -m venv /venv \
    && /venv/bin/pip install --require-hashes --only-binary=:all: -r requirements/service.txt \
    && python3 -m venv /tools \
    && /tools/bin/pip install --require-hashes --only-binary=:all: -r requirements/image.txt

# The service and its metadata go into a folder of their own, the last and smallest layers.
COPY pyproject.toml LICENSE README.md ./
COPY service ./service
RUN /tools/bin/pip install --no-deps --no-index --no-build-isolation --target /app .

# What serving never opens. onnxruntime's Python module has the runtime linked into it; the second
# copy beside it is for programs in C, and its tools are for preparing networks. AVIF is no picture
# format of ours. Debug symbols are nine tenths of uvloop; libraries that auditwheel has rewritten are
# not stripped, which can break them. Each line fails the build when its target is gone, so that the
# list stays true.
RUN cd /venv/lib/python3.*/site-packages \
    && rm -r onnxruntime/quantization onnxruntime/tools onnxruntime/transformers onnxruntime/capi/libonnxruntime.so.* \
    && rm -r numpy/f2py numpy/_core/include numpy/_core/lib numpy/random/lib \
    && rm PIL/_avif.*.so pillow.libs/libavif-* \
    && rm -r pip pip-*.dist-info /venv/bin/pip* \
    && strip --strip-unneeded uvloop/*.so httptools/parser/*.so \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete

# Bytecode is made here because the root file system is read-only later, and is never compared with
# its source, whose times the copy into the next stage may change.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /venv/lib /app

# The bill of materials, CycloneDX: Python packages, Debian's packages and networks.
COPY --from=runtime /var/lib/dpkg/status ./dpkg-status
COPY models/SHA256SUMS ./
RUN /tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-format JSON \
        --output-file /app/sbom.cdx.json /venv/bin/python \
    && /tools/bin/python requirements/sbom.py /app/sbom.cdx.json dpkg-status SHA256SUMS


FROM runtime

COPY --from=builder /venv /venv
COPY --from=builder /app /app
COPY models /app/models

# ONNX Runtime reports its use to its makers unless it is told not to before it is loaded. OpenBLAS
# would start a thread for every core of the host; the networks run in ONNX Runtime, which has a
# setting of its own. The host is that of both ports. The lame duck period is for what balances loads.
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
