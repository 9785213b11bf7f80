"""Code that `make proto` generates from `proto/lookalike/v1/lookalike.proto`: change that file, never these."""
