# The service on a CPU, without torch: docker build -t corun . && docker run -p 8000:8000 corun
# Without films it is 100 MB smaller: docker build --build-arg EXTRAS=serve -t corun .
FROM python:3.12-slim-bookworm AS build
ARG EXTRAS=serve,video
WORKDIR /build
RUN python -m venv /opt/corun
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE hatch_build.py ./
COPY src src
RUN /opt/corun/bin/pip install --no-cache-dir --no-compile -c constraints.txt ".[${EXTRAS}]" \
  && /opt/corun/bin/pip uninstall --yes pip

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home corun \
  && install -d -o 10001 -g 10001 -m 700 /var/lib/corun
COPY --from=build /opt/corun /opt/corun
ENV PATH=/opt/corun/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 \
  CORUN_STATE=/var/lib/corun
VOLUME /var/lib/corun
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["corun"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
