"""What is told of a running server: metrics, logs and traces."""

ACCESS = "lookalike.access"
"""The logger of a line for each request."""
AUDIT = "lookalike.audit"
"""The logger of admin acts and refusals."""
