"""Pure routing decisions: which models may serve a request, in which order, and when to fail over.

Nothing here knows Twisted, a clock, a socket or any other package of the project. Functions take
values and return values, so that each rule can be read and tested alone.
"""
