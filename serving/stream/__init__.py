"""The duplex protocol: many queries and their answers over one stream, whatever carries it."""
