"""Data recorded from other libraries, and the scripts that record it."""
