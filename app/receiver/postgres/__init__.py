"""The receiver's copy in PostgreSQL, for fleets of gateways and for several receivers over one database.

Rule: nothing here is imported unless a database is named; the library is an optional extra.
"""
