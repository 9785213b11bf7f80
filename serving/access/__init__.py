"""Access: who may ask for what, and how often, decided before anything of a body is read."""
