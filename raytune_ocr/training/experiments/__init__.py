"""Numbered experiment folders: train, resume and fork."""
