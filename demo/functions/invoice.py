# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An invoice by mail for the items of an event: stdin to stdout, a process for every request.

What it imports costs a fresh interpreter a multiple of what it does; the demo starts
it from an image that has imported it already.
"""
import decimal
import email.message
import email.policy
import json
import sqlite3
import sys

event = json.load(sys.stdin)
with sqlite3.connect(":memory:") as book:
    book.execute("create table items (price text)")
    book.executemany("insert into items values (?)", [(f"{item}.99",) for item in event["items"]])
    total = sum(decimal.Decimal(price) for price, in book.execute("select price from items"))
mail = email.message.EmailMessage(policy=email.policy.SMTP)
mail["To"], mail["Subject"] = f"{event['user']}@example.org", f"Your invoice of {total}"
mail.set_content(event["text"])
print(json.dumps({"total": str(total), "mail": mail.as_string()}))
