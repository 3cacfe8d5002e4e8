"""The page SQL: what it asks for."""

from thermograd.analysis.serve.sql.asking import ROUTES as ROUTES
