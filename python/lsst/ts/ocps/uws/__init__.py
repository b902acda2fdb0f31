"""The vocabulary of the IVOA Universal Worker Service (UWS 1.1); pure, no I/O."""
