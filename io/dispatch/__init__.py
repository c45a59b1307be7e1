"""Dispatching: every planned email executed once, whatever breaks."""
