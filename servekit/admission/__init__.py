"""Who may work now, who waits and for how long, and who is sent away at once."""

from servekit.admission.admission import Admission, Ticket
from servekit.admission.queue import AdmissionQueue, Waiter

__all__ = ["Admission", "AdmissionQueue", "Ticket", "Waiter"]
