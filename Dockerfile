# The labeling app, for a team: no torch, no trainers. Built and run by compose.yaml; see
# docs/guides/operators.md.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_DISABLE_TELEMETRY=1 \
    HF_HUB_OFFLINE=1

# What the app imports, in the words of pyproject.toml: tests/test_deployment.py holds both to it.
RUN pip install \
    "alembic>=1.15" \
    "argon2-cffi>=25.1" \
    "fastapi>=0.120" \
    "gradio>=6.31,<7" \
    "httptools>=0.6" \
    "jinja2>=3.1" \
    "markdown-it-py>=3" \
    "numpy>=2" \
    "psycopg[binary]>=3.2" \
    "pydantic>=2.11" \
    "pyyaml>=6" \
    "rich>=14" \
    "scipy>=1.15" \
    "sqlalchemy>=2.0.40" \
    "typer>=0.20" \
    "uvicorn>=0.35" \
    "uvloop>=0.21"

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY rlhf rlhf
COPY labeling_app labeling_app
COPY pipelines pipelines
RUN pip install --no-deps .

# /data holds a SQLite store, backups and exports; with PostgreSQL only the latter two.
RUN useradd --uid 10001 --create-home app && mkdir /data && chown app /data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 7860

HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/sign-in', timeout=4)"]

ENTRYPOINT ["rlhf"]
CMD ["label", "--db", "/data/store.db", "--accounts", "--host", "0.0.0.0", "--no-browser"]
