"""Which runtime and which file to ship on this machine: every engine and file compared."""
