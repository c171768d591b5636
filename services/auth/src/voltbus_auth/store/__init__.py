"""The auth database's collections. Only this package knows motor."""
