"""The smallest scenario that still shows the first difference of one."""
import re

import language


def shape(answer):
    """What of an answer has to stay while a scenario shrinks: a refusal, an error, or that there are data."""
    if not answer:
        return 'nothing'
    known = re.fullmatch(r'  (refused.*|E[A-Z]+|ok|hangs|short.*|yes|no|never)', answer[0])
    return known[1] if known else 'text'


def kind(verdict):
    """The same for differences that have one cause, as far as can be seen."""
    if not verdict.first:
        return None
    kernel, dmfs = verdict.first
    return kernel.verb.split()[1], shape(kernel.answer), shape(dmfs.answer)


def shrink(text, ask):
    """The text of a smaller scenario and its verdict; ask(text) compares one."""
    best = ask(text)
    wanted = kind(best)
    if not wanted:
        return text, best
    some = language.items(text)

    def still(fewer):
        nonlocal some, best
        verdict = ask(language.written(fewer)) if fewer else None
        if not verdict or kind(verdict) != wanted:
            return False
        some, best = fewer, verdict
        return True

    # What follows the first difference says nothing of it.
    for eighth in range(1, 8):
        if still(some[:len(some) * eighth // 8]):
            break
    size = len(some) // 2
    while size:
        at = 0
        while at < len(some):
            if not still(some[:at] + some[at + size:]):
                at += size
        size //= 2
    return language.written(some), best
