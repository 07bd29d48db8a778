"""Domain model: requests, provider protocol, job state machine, failure policy, errors.

Everything here is pure: no clock, no sockets, no files, no randomness. Callers pass in what depends on them.
"""
