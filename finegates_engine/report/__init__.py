"""What a store's runs say, as pages and pictures that are committed."""
