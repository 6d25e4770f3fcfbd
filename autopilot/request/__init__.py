"""Parsing of client requests: header fields, JSON body, prompt length."""
