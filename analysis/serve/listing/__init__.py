"""The list of runs as data, for the page and whoever asks."""

from thermograd.analysis.serve.listing.routes import ROUTES as ROUTES, listing_of as listing_of
