"""Tests of the pure core: tables and properties, nothing else."""
