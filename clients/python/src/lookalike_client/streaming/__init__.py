"""Queries over a stream: many at a time over one WebSocket, each answered when it is ready."""
