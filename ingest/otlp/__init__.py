"""OpenTelemetry in: metrics that others send by OTLP become steps, samples and metrics of runs."""
