# langtailor in a container (docs/how-to.md, "Run in a container"):
#
#   docker build --tag langtailor .                            torch for CPUs
#   docker build --tag langtailor:gpu --build-arg KIND=gpu .   torch for CUDA, which needs only the host's driver
#   docker build --tag langtailor:export --build-arg KIND=export .   as on CPUs, with what exports need

ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS wheel
WORKDIR /source
COPY LICENSE README.md Snakefile pyproject.toml ./
COPY config config/
COPY envs envs/
COPY profiles profiles/
COPY workflow workflow/
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE}
# Which lock file is installed: cpu, gpu or export.
ARG KIND=cpu
# Where pip finds torch's build for CPUs. Not for `gpu`: it would be taken for the same version.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

COPY requirements/${KIND}.txt /tmp/requirements.txt
RUN case "${KIND}" in gpu) ;; *) export PIP_EXTRA_INDEX_URL="${TORCH_INDEX}" ;; esac \
    && pip install --no-cache-dir --requirement /tmp/requirements.txt

COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps /tmp/wheels/*.whl

# Any user may run it (`--user`), so that what a run writes belongs to who started it. Programs ask the environment for the
# name of one that the image does not know.
RUN mkdir --mode=1777 /home/langtailor
ENV HOME=/home/langtailor USER=langtailor
USER 1000
WORKDIR /work
ENTRYPOINT ["langtailor"]
CMD ["--help"]
