"""Payload definitions and the parameter codec, shared by the CSC and the service."""
