"""The report of ``compress``, as JSON and as an HTML page with charts."""
