"""Records on their way to the clients who keep a copy: the hand that carries out what `ledger.delivery` wishes.

Rule 1: nothing here is on a request's way; what fails here is a sentence and another try, and serving goes on.
Rule 2: a receiver is a stranger: where it may be is checked, what it answers is bounded, verified and never followed.
"""
