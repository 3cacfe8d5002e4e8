"""The page of one run while it is written."""

from thermograd.analysis.serve.live.routes import ROUTES as ROUTES
