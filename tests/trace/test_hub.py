from pytools.trace.events import FrameSent, Settled, TimerFired
from pytools.trace.hub import CATEGORIES, Trace


def test_nobody_listens_at_first() -> None:
    trace = Trace()
    assert [getattr(trace, category) for category in CATEGORIES] == [None] * len(CATEGORIES)


def test_a_listener_gets_the_categories_it_asked_for_and_no_other() -> None:
    trace, heard = Trace(), []
    trace.subscribe(heard.append, ("timer",))
    assert trace.frame is None
    assert trace.timer is not None
    fired = TimerFired(1, "arp", "10.0.0.2", 1)
    trace.timer(fired)
    assert heard == [fired]


def test_several_listeners_hear_in_the_order_of_subscription() -> None:
    trace, heard = Trace(), []
    for name in ("a", "b", "c"):
        trace.subscribe(lambda event, name=name: heard.append((name, event)))
    settled = Settled(7)
    for category in CATEGORIES:
        getattr(trace, category)(settled)
    assert heard == [("a", settled), ("b", settled), ("c", settled)] * len(CATEGORIES)


def test_one_listener_alone_is_called_directly() -> None:
    trace, heard = Trace(), []
    listener = heard.append
    trace.subscribe(listener)
    assert trace.frame == listener
    sent = FrameSent(1, 0, (b"x",), 0, 0, 0)
    assert trace.frame is not None
    trace.frame(sent)
    assert heard == [sent]
