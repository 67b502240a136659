# The site with its locked requirements, and nothing of yours: a server and its own requirements go on top of it, as
# docs/image.md says. PYTHON_IMAGE is any Debian image with Python 3.11 or newer; a digest fixes it for good.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder

ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /app

# The lock without its hashes is what later installations may not depart from; setuptools is some Pythons' own gift.
COPY requirements-image.txt ./
RUN python -m venv /opt/venv \
    && pip uninstall --yes setuptools \
    && pip install --no-compile --require-hashes -r requirements-image.txt \
    && pip freeze > /opt/venv/constraints.txt

COPY . ./
# The key signs nothing here, and is in no layer's environment. Byte code that is checked by hash holds whatever times a
# copy gives its files. A clone made under a narrow umask is readable here all the same.
RUN SECRET_KEY=only-for-collectstatic python manage.py collectstatic --noinput \
    && install -m 644 deploy/image/packages.pth "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && python -m compileall -q -f -j 0 --invalidation-mode checked-hash /opt/venv/lib /app \
    && chmod -R a+rX /opt/venv /app


FROM ${PYTHON_IMAGE}

# PIP_CONSTRAINT: 'pip install' in an image on top of this one fails rather than replace what the site was tested with.
# PYTHONPATH: where a server of yours is copied to, or mounted.
ENV PATH=/opt/venv/bin:$PATH \
    PIP_CONSTRAINT=/opt/venv/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/srv/app \
    PYTHONUNBUFFERED=1

# /data is for a SQLite file where DATABASE_URL names one, /packages for what MCP_REQUIREMENTS names. Nothing else is
# written, so the root may be read-only.
RUN groupadd --gid 1000 site \
    && useradd --uid 1000 --gid site --create-home site \
    && install --directory --owner=site --group=site /data /packages

COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app

WORKDIR /app
# By number, so that Kubernetes can see that it is not root.
USER 1000:1000
EXPOSE 8062
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-I", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + (os.environ.get('PORT') or '8062') + '/healthz', timeout=4)"]
ENTRYPOINT ["python", "-I", "/app/deploy/image/entrypoint.py"]
CMD ["gunicorn", "mcpsite.asgi"]
