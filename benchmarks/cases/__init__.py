"""The operators that are measured, one file each."""
