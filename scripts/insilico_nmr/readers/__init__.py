"""Readers of what first-principles codes write, one module a code; `registry` picks by the file's content."""
