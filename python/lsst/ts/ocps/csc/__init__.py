"""The CSC ``OCPS``: from SAL commands to UWS jobs, and their news back as SAL events."""
