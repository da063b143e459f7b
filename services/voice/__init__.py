"""Speech: text in, streamed audio out, over gRPC."""
