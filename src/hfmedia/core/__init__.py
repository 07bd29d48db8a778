"""What hfmedia thinks with: requests, answers, job life, decisions, errors.

Everything here is pure: no clock, no sockets, no files, no randomness. The world is passed in.
"""
