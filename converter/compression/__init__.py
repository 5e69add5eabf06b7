"""From file to file: compress, prune, quantize, dedupe, and the judge of their steps."""
