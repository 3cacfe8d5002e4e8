"""Readings and alerts as OTLP's requests; needs opentelemetry-proto."""

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

_SCOPE = "thermograd"
_CUMULATIVE = 2


def metrics(resource: Mapping[str, Any], points: Iterable[tuple[Any, ...]]) -> bytes:
    """Return the request of data points: name, unit, kind, time, value and attributes of each."""
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    _add(of_resource.resource.attributes, resource)
    scope = of_resource.scope_metrics.add()
    scope.scope.name = _SCOPE
    known: dict[tuple[str, str], Any] = {}
    for name, unit, kind, time_ns, value, about in points:
        data = known.get((name, unit))
        if data is None:
            metric = scope.metrics.add(name=name, unit=unit)
            data = known[name, unit] = metric.gauge if kind == "gauge" else metric.sum
            if kind != "gauge":
                data.aggregation_temporality, data.is_monotonic = _CUMULATIVE, kind == "counter"
        point = data.data_points.add(time_unix_nano=time_ns)
        if isinstance(value, float) or not -(2**63) <= value < 2**63:
            point.as_double = value
        else:
            point.as_int = int(value)
        _add(point.attributes, about)
    return bytes(request.SerializeToString())


def logs(resource: Mapping[str, Any], records: Iterable[tuple[int, int, str, str, dict[str, Any]]]) -> bytes:
    """Return the request of log records: time, severity, its name, body and attributes of each."""
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    _add(of_resource.resource.attributes, resource)
    scope = of_resource.scope_logs.add()
    scope.scope.name = _SCOPE
    for time_ns, severity, severity_text, body, about in records:
        record = scope.log_records.add(
            time_unix_nano=time_ns,
            severity_number=severity,
            severity_text=severity_text,
            event_name="thermograd.alert",
        )
        record.body.string_value = body
        _add(record.attributes, about)
    return bytes(request.SerializeToString())


def _add(attributes: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        pair = attributes.add(key=name)
        if isinstance(value, bool):
            pair.value.bool_value = value
        elif isinstance(value, int) and -(2**63) <= value < 2**63:
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        else:
            pair.value.string_value = str(value)
