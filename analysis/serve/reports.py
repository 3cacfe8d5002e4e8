"""Reports and comparisons, made in a process of their own."""

from starlette.routing import Route

ROUTES: list[Route] = []
