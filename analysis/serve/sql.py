"""SQL over the views, in the sandbox."""

from starlette.routing import Route

ROUTES: list[Route] = []
