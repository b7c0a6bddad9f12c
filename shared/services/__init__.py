"""Services: what the product does, one module per noun, over the domain's rules and the adapters."""
