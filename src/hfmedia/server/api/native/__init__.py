"""Our own API: jobs as they are, for the web page and for whoever wants to see more than OpenAI's shapes hold."""
