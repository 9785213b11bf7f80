"""The serving tier: follows a channel of snapshots and answers queries over HTTP."""
