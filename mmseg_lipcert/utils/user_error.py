class UserError(Exception):
    """What the user gave, or the machine, is not as it must be; the message says how.

    A tool ends with the message alone, without a traceback.
    """
