"""The next layer refitted to what was removed before it."""
