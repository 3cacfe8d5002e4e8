"""Where alerts go: files, webhooks, services, Prometheus."""
