# The service in a container: docker build -t undertone . && docker compose up
# Mount a model folder at /models/model (read-only), and give a token: see compose.yaml.
FROM python:3.11-slim

# libsndfile comes inside the soundfile wheel; ffmpeg is left out on purpose: uploads never reach it
RUN useradd --create-home --uid 10001 undertone
WORKDIR /app

# On Linux without a GPU, pass the CPU build of PyTorch first: see pytorch.org for its index address
ARG TORCH_INDEX=""
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" torch; fi

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY recipes ./recipes
RUN pip install --no-cache-dir ".[align,demo,report,serve,vad]"

USER undertone
ENV HF_HUB_OFFLINE=1 ORT_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1 UNDERTONE_CACHE=/tmp/undertone
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]

# beyond loopback a token is required: without UNDERTONE_TOKEN this refuses to start
CMD ["undertone", "serve", "--host", "0.0.0.0", "--model", "/models/model"]
