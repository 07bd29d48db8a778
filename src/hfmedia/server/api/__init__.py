"""HTTP APIs: OpenAI-compatible, native and AUTOMATIC1111-compatible routers."""
