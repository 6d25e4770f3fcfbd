"""Three routers behind a real HAProxy, with a real Redis server that fails."""
