# The image of a node: this package with Ray, PyTorch and what KubeRay's probes need.
#   docker build -t registry.example.com/raytune-ocr:0.1.0-cpu .
#   docker build -t registry.example.com/raytune-ocr:0.1.0-cuda --build-arg DEVICE=cuda .
# PyTorch's CUDA wheels bring their own CUDA; the machine needs NVIDIA's driver and container toolkit.
FROM docker.io/library/python:3.12-slim-bookworm

# cpu, or cuda: the wheels of PyPI, ten times as large
ARG DEVICE=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# KubeRay asks with wget whether a node is well.
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray

# PyTorch first, so that a change of this package builds in seconds.
RUN case "$DEVICE" in \
        cpu) pip install --index-url https://download.pytorch.org/whl/cpu "torch>=2.7,<2.14" ;; \
        cuda) pip install "torch>=2.7,<2.14" ;; \
        *) echo "DEVICE: must be cpu or cuda, got $DEVICE" >&2; exit 1 ;; \
    esac

COPY pyproject.toml README.md LICENSE /opt/raytune_ocr/
COPY search_spaces /opt/raytune_ocr/search_spaces
COPY raytune_ocr /opt/raytune_ocr/raytune_ocr
RUN pip install "/opt/raytune_ocr[cluster,optuna]"

USER ray
WORKDIR /home/ray
CMD ["python", "-m", "raytune_ocr.tune", "--help"]
