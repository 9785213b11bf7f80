"""Encoders in smaller numbers than 32 bits: their names, and how their models are made."""
