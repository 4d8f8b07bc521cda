"""What happens to a running request that must give up its KV."""
