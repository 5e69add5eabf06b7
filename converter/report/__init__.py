"""What ``compress`` tells: the report as JSON and as a page with charts."""
