"""Measure on the device: an agent that runs models it is sent, and the client that sends them."""
