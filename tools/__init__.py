"""What developers and newcomers run beside the product: the demo, the benchmark."""
