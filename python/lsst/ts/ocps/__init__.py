"""The OCS-controlled processing service: from SAL commands to UWS jobs and back."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("ts-ocps")
