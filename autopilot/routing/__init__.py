"""Pure routing decisions: which models, in which order, and when to turn to the next.

Nothing here knows Twisted, a clock, a socket or the rest of the project. Every function takes
values and returns values, so each rule can be read, and tested, by itself.
"""
