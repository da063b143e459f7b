"""The servers behind the router, over gRPC."""
