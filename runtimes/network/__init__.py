"""What every server of kilnx does for its safety: tokens, TLS, and patience with nobody."""
