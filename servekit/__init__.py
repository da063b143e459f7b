"""A gRPC model-server runtime. It knows nothing of images, voices or prompts."""
