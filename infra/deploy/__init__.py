"""``python -m infra.deploy``: brings a stage up in an AWS account, proves that it works, and takes it down again."""
