"""The commands that tie rooms together; the others live in the `commands` of their room."""
