"""From a text to a vector: encoders of texts, their tokenizers, and how they run."""
