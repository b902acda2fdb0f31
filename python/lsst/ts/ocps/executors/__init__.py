"""Run a command somewhere and tell how it ended; nothing here knows UWS, SAL or SQL."""
