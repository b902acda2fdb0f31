"""Back ends as the CSC sees them: one seam, one module per protocol."""
