"""The front door: chooses a model and a server for each request and sees the request through."""
