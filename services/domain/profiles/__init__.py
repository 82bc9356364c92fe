"""Vendor profiles (厂商映射): which vendor names and units stand for which metrics and events of a kind, as data.

The YAML files beside this, one a profile, come with LinHub; services.adapters.profiles reads them.
"""
