"""Readers of what first-principles codes write, one module a code; `detect` picks by the file's content."""
