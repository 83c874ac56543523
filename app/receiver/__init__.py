"""The client's side of the ledger: a small server that keeps a copy of what gateways record, checks it and cosigns it.

Rule 1: what was cosigned is durable, and was checked against everything that is held of its log; `intake.py` alone
decides. Rule 2: what does not fit is refused with one sentence, and where the gateway has signed two histories both
signed notes are kept. Rule 3: many gateways send to one receiver, and none of them sees anything of another.
"""
