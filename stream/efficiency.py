"""Thermal load efficiency as a stream estimator; the mathematics is the store's, for SQL uses it too."""

from thermograd.store.efficiency.estimator import Efficiency as Efficiency
