"""From a proven model to what runs it elsewhere: bundles, and what they are exported to."""
