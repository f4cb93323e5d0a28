"""Packaging is described in setup.cfg."""

import setuptools

setuptools.setup()
