"""The whole system on one host, in containers: `compose.yaml`, and what prepares and changes it."""
