"""A bad day on the local stack: hundreds of jobs while everything around them fails. ``make rehearse`` runs it.

- __main__: the command; day: the course of the day; bill: what must be true at its end
- cloud: the local stack, its queues delivering twice and its clock jumping; weather: the folder all of them share
- faults: AWS calls that fail, put into every function and worker by a ``sitecustomize`` of their code folder
- killer: SIGKILL to functions and workers; customers: who sends recordings; receiver: a customer's server on a bad day
- engine, worker: the stand-in of the speech engine, and the worker program that uses it

Nothing of this is in the product: the stack is its own, with its options ``--code`` and ``--worker-module``.
"""
