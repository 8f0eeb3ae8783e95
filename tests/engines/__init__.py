"""Tests that need the packages of other engines (make test-engines)."""
