"""What customers and clocks want from orders: one verb a module."""
