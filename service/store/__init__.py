"""The mirror: all SQL is in here.

A statement of every cycle is built once and has bound parameters: to build it takes longer than to execute it.
"""
