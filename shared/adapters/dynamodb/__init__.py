"""DynamoDB: one module per table, and what they share (items, transactions)."""
