"""Who may say yes: a request is shown to a person or a hook, and its answer counts for that one payment, once, and soon.

Nothing is signed before the yes; the budget is set aside meanwhile. What cannot be delivered, what comes late, and what
answers another request is a no. A seller's words in it are data: escaped, cut, and never part of a question.
"""

from __future__ import annotations

from .asking import ask
from .channels import Approver, Callback, approver, asking
from .file import File, Waiting, answer, waiting
from .request import Request, lines
from .terminal import Terminal
from .webhook import Webhook

__all__ = ["Approver", "Callback", "File", "Request", "Terminal", "Waiting", "Webhook", "answer", "approver", "ask", "asking", "lines", "waiting"]
