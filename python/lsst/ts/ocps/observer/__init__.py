"""What people and shell scripts see of a CSC: its state, its payloads, its runs, all over SAL.

Shared by the command line and the demo; it knows nothing of either.
"""
