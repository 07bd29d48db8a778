"""OpenAI's API: images, videos and models, as its SDKs and the front-ends that people run call it."""
