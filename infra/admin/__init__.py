"""``audiototext-admin``: what an operator does by hand, on a local stack or a deployed one.

__main__   the command line
target     which deployment is meant
commands   what each command does: arguments in, a ``Shown`` out
show       tables for people, JSON for scripts
"""
