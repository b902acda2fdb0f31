"""Figures of the whole bridge, measured on real brokers; `make bench`."""
