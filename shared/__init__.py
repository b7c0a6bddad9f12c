"""What the Lambda functions and the GPU jobs share: domain, adapters, services."""
