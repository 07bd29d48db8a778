"""HTTP details below the routers: request bodies, headers, URLs, header timeout."""
