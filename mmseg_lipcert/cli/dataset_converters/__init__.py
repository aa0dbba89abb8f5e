"""Data sets in the layout of the configs."""
