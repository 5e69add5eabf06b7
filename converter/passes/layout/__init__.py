"""Moving Transposes to where they cost least."""
