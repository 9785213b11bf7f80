"""How fast the serving tier answers, beside other servers with the same model, and how it fares in swaps and floods."""
