"""QuantizeLinear and DequantizeLinear nodes: where they stand and with which scales."""
