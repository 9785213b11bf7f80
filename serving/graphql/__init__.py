"""GraphQL: several questions in one round trip, from one snapshot. Nothing of it is loaded unless a setting says so."""
