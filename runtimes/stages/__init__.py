"""A model as several stages, each on a device, in a process or on a machine of its own."""
