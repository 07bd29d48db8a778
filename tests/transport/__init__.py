"""Tests of the transport: real sockets on loopback, nothing pretended."""
