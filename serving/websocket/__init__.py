"""The gateway for WebSocket: the duplex protocol as JSON in text frames, with pictures in binary frames."""
