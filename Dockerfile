# The service on a CPU, without torch: docker build -t corun . && docker run -p 8000:8000 corun
FROM python:3.12-slim AS build
WORKDIR /build
RUN python -m venv /opt/corun
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/corun/bin/pip install --no-cache-dir -c constraints.txt ".[serve]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home corun
COPY --from=build /opt/corun /opt/corun
ENV PATH=/opt/corun/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["corun"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
