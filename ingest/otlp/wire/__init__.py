"""OTLP as it comes over the wire: HTTP, gRPC, and the messages in both of their forms."""
