"""The continuous audit: walks through the book again and again, in small steps, and tells whether it is sound."""
