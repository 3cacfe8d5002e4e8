"""The page that people keep open in the browser, and its server (extra ``serve``)."""
