"""OpenAI-compatible API: images, videos and models, as OpenAI's SDKs and common front-ends call it."""
