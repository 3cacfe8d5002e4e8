"""What the page of a run asks for: its timeline, its events as they come, its state."""

from starlette.routing import Route

ROUTES: list[Route] = []
