"""What a PromQL expression asks of a scrape: whether it can be answered, and which labels its answer has."""

from typing import NamedTuple

import promql_parser as promql
from prometheus_client.openmetrics.parser import text_string_to_metric_families

GIVEN = {"job", "instance"}  # by Prometheus, to every series
_COUNTERS_ONLY = {"rate", "irate", "increase"}
_GAUGES_ONLY = {"changes", "delta", "deriv"}


class Scraped(NamedTuple):
    """A series' name as it is queried: its type, and the labels of its series."""

    type: str
    labels: frozenset[str]
    values: dict[str, set[str]]


def scraped(text: str) -> dict[str, Scraped]:
    """Return what a scrape in OpenMetrics has, by the name that a query says."""
    found: dict[str, Scraped] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            known = found.setdefault(sample.name, Scraped(family.type, frozenset(sample.labels), {}))
            assert known.labels == set(sample.labels), f"{sample.name} has no one set of labels"
            for name, value in sample.labels.items():
                known.values.setdefault(name, set()).add(value)
    return found


def labels_of(text: str, scrape: dict[str, Scraped]) -> set[str]:
    """Return the labels of an expression's answer; AssertionError where the scrape cannot answer it."""
    return _labels(promql.parse(text), scrape)


def _labels(expr: promql.Expr, scrape: dict[str, Scraped], function: str = "") -> set[str]:
    match expr:
        case promql.VectorSelector():
            return _selected(expr, scrape, function)
        case promql.MatrixSelector():
            return _selected(expr.vector_selector, scrape, function)
        case promql.ParenExpr() | promql.UnaryExpr():
            return _labels(expr.expr, scrape, function)
        case promql.Call():
            return set().union(*(_labels(each, scrape, expr.func.name) for each in expr.args))
        case promql.AggregateExpr():
            inner = _labels(expr.expr, scrape)
            kept = set(expr.modifier.labels) if expr.modifier is not None else set()
            assert kept <= inner, f"{expr}: {kept - inner} is in no series"
            return kept
        case promql.BinaryExpr():
            return _joined(expr, _labels(expr.lhs, scrape), _labels(expr.rhs, scrape))
    return set()  # a number


def _selected(selector: promql.VectorSelector, scrape: dict[str, Scraped], function: str) -> set[str]:
    assert selector.name in scrape, f"there is no {selector.name}"
    known = scrape[selector.name]
    if function in _COUNTERS_ONLY | _GAUGES_ONLY:
        assert (known.type == "counter") == (function in _COUNTERS_ONLY), f"{function} of a {known.type}"
    labels = set(known.labels) | GIVEN
    for matcher in selector.matchers.matchers:
        assert matcher.name in labels, f"{selector.name} has no label {matcher.name}"
    return labels


def _joined(expr: promql.BinaryExpr, left: set[str], right: set[str]) -> set[str]:
    modifier = expr.modifier
    if modifier is None or modifier.matching is None:
        assert not left or not right or left == right, f"{expr}: {left ^ right} are of one side only"
        return left or right
    on = set(modifier.matching.labels)
    assert on <= left, f"{expr}: {on - left} is not on the left"
    assert on <= right, f"{expr}: {on - right} is not on the right"
    more = set(modifier.group_labels or ())
    assert more <= right, f"{expr}: {more - right} cannot be taken from the right"
    if modifier.card == promql.VectorMatchCardinality.ManyToOne:
        return left | more
    return left if modifier.card == promql.VectorMatchCardinality.ManyToMany else on  # and, or, unless
