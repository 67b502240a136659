FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# /data is for a SQLite file where DATABASE_URL names one; DynamoDB holds everything else.
RUN useradd --system --create-home --uid 1000 site && install --directory --owner=site /data

WORKDIR /app

COPY requirements-image.txt ./
RUN pip install -r requirements-image.txt

COPY . ./
# The key signs nothing here, and is in no layer's environment.
RUN SECRET_KEY=only-for-collectstatic python manage.py collectstatic --noinput

USER site
EXPOSE 8062
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8062') + '/healthz', timeout=4)"]
CMD ["gunicorn", "mcpsite.asgi"]
