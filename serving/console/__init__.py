"""What operators see of a store, and what they may do with it: without HTTP."""
