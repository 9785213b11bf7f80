"""gRPC: the same queries and answers as over HTTP, as Protocol Buffers."""
