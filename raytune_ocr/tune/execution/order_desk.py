"""Take the orders that other processes left for a run, carry them out and answer them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.results.steering.inbox import Inbox
from raytune_ocr.results.steering.orders import Answer, Order
from raytune_ocr.tune.execution.recording.throttle import Throttle
from raytune_ocr.tune.execution.run import Run

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


class OrderDesk:
    """Reads the inbox of a run a few times a second.

    Args:
        run: the run.
        say: prints a line about an order.
    """

    def __init__(self, run: Run, say: Callable[[str], None] = logger.info) -> None:
        self.run = run
        self.say = say
        self.inbox = Inbox(run.output_dir)
        self._throttle = Throttle(share=1.0, seconds=POLL_SECONDS)  # also after a slow order
        self._warned = False

    def poll(self) -> None:
        """Carry out the orders that have come, if it is time to look."""
        if self._throttle.ready():
            with self._throttle.measured():
                self.take_all()

    def take_all(self) -> None:
        """Carry out the orders that have come."""
        try:
            for each in self.inbox.take():
                if isinstance(each, Order):
                    self.inbox.answer(each.id, self._answer(each))
                else:
                    order_id, why = each
                    self.inbox.answer(order_id, Answer(False, why))
        except OSError as error:  # the folder is not ours, or the disk is full
            if not self._warned:
                logger.warning("%s: orders are not read: %s", self.inbox.folder, error)
            self._warned = True

    def wait(self) -> None:
        """Wait until it is time to look again, and look."""
        time.sleep(POLL_SECONDS)
        self.poll()

    def _answer(self, order: Order) -> Answer:
        if not self.run.journal.is_open:  # an order is on the disk before its answer
            self.run.save_state()
        if self.run.orders.is_known(order):
            return Answer(True, "carried out before the run was interrupted")
        try:
            words = self.run.orders.carry_out(order)
        except RaytuneOCRError as error:
            return Answer(False, str(error))
        except Exception as error:  # of a user's own task; an order never ends the run
            logger.exception("%s: %s", order.who, order)
            return Answer(False, f"{type(error).__name__}: {error}")
        self.say(f"{order.who}: {order}: {words}")
        return Answer(True, words)
