"""The whole cloud on one machine, built from template.yaml. Start it with ``python -m infra.local``.

- __main__, options: the command, its flags, ready file and banner; running: starts the parts in order, stops them all
- template: reads the template, checks parameters, lets SAM translate it
- subset: the part of the translated template that moto creates rightly; stack: creates it, resolves what runs outside
- completion: sets by API what create_stack ignores (TTL, lifecycle, CORS, notifications)
- aws: the HTTP server in front of moto: locks, presigned checks, Lambda's Invoke
- moto_fixes, moto_sqs: where moto differs from AWS, each difference mended on its own
- presigned: S3's own checks of presigned URLs and POST policies
- runtime: Lambda, as awslambdaric children behind the Runtime API
- gateway, proxy_events: API Gateway (REST, proxy integration)
- edge, streaming: CloudFront's choice of a host, and the host for large uploads
- pollers, schedules: event source mappings and scheduled rules
- worker, demo_account: the speech worker, and somebody to call the API
- drop_folder: a folder on this machine as the account's drop folder
- state, state_folder, state_moto: what ``--state`` keeps from one start to the next
- processes, die_with_parent: children that never outlive the stack
- calls, stack_log: who called what in AWS; what everybody printed
- launch: ``LocalStack``, the command as a context manager, for tests and scripts
"""
