"""`tradeflow replay`: a shop's order history from a CSV file, through the public API.

The way a file goes:

    reading    bytes → records with their line in the file
    rows       a record → a row that can be sold or given back, or a reject with its reason
    orders     purchases → orders with numbered lines
    returns    returns → refunds of earlier lines, newest purchase first
    plan       all of it together: each row in exactly one place        (pure up to here)
    keys       names that the same file always gets: run, idempotency keys, skus, e-mail addresses, passwords
    memory     what is already done, as a cache; and the secret behind the passwords
    shop       the retailer, the treasury and the products
    customers  one customer's orders and refunds, in the order of time
    apply      the plan on a platform: shop, customers at once, settlement
    outcome    the plan and the platform's answers → what became of each row
    access     the platform: its own on the data folder, or one that runs already
    replaying  a whole run
    progress   a bar on a terminal, lines elsewhere
    report     the rejects file, the closing table, the JSON
    command    options, output, exit codes

Correctness comes from idempotency keys alone. A run that was killed is run again; what had happened is answered again
by the platform, what had not happens now.
"""
