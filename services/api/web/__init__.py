"""Around every request: middleware, problems, pages, limits, metrics, and the cockpit's files."""
