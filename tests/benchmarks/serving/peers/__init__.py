"""What the server is measured beside: the same model and index behind other code."""
