"""The server: a gRPC front door without torch, and workers in processes of their own."""
