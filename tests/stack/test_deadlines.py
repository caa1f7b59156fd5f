from random import Random

from pytools.stack.deadlines import Deadlines
from pytools.units import NEVER


class Thing:
    def __init__(self) -> None:
        self.due_at = NEVER
        self.queued_at = NEVER


class Recorder:
    def __init__(self) -> None:
        self.fired: list[tuple[Thing, int]] = []

    def __call__(self, thing: Thing, now: int) -> None:
        assert thing.due_at == NEVER
        self.fired.append((thing, now))


def test_nothing_armed_is_never_due():
    deadlines = Deadlines()
    assert deadlines.next_at() == NEVER
    deadlines.run(NEVER)


def test_things_come_due_in_the_order_of_their_instants():
    deadlines, fired = Deadlines(), Recorder()
    a, b, c = Thing(), Thing(), Thing()
    for thing, at in ((a, 30), (b, 10), (c, 20)):
        deadlines.arm(thing, at, fired)
    deadlines.run(20)
    assert [thing for thing, _ in fired.fired] == [b, c]
    assert deadlines.next_at() == 30


def test_equal_instants_fire_in_the_order_of_arming():
    deadlines, fired = Deadlines(), Recorder()
    things = [Thing() for _ in range(5)]
    for thing in things:
        deadlines.arm(thing, 7, fired)
    deadlines.run(7)
    assert [thing for thing, _ in fired.fired] == things


def test_arming_for_later_moves_the_deadline():
    deadlines, fired = Deadlines(), Recorder()
    thing = Thing()
    deadlines.arm(thing, 10, fired)
    deadlines.arm(thing, 25, fired)
    assert deadlines.next_at() == 25
    deadlines.run(24)
    assert not fired.fired
    deadlines.run(25)
    assert len(fired.fired) == 1


def test_arming_for_earlier_moves_the_deadline():
    deadlines, fired = Deadlines(), Recorder()
    thing = Thing()
    deadlines.arm(thing, 25, fired)
    deadlines.arm(thing, 10, fired)
    deadlines.run(30)
    assert fired.fired == [(thing, 30)]


def test_a_disarmed_thing_does_not_fire():
    deadlines, fired = Deadlines(), Recorder()
    thing = Thing()
    deadlines.arm(thing, 10, fired)
    deadlines.disarm(thing)
    deadlines.disarm(thing)
    assert deadlines.next_at() == NEVER
    assert len(deadlines) == 0
    deadlines.arm(thing, 20, fired)
    deadlines.run(30)
    assert len(fired.fired) == 1


def test_a_handler_may_arm_again():
    deadlines = Deadlines()
    thing, instants = Thing(), []

    def again(thing: Thing, now: int) -> None:
        instants.append(now)
        if len(instants) < 3:
            deadlines.arm(thing, now + 10, again)

    deadlines.arm(thing, 10, again)
    for now in range(0, 100, 5):
        deadlines.run(now)
    assert instants == [10, 20, 30]


def test_arming_and_disarming_for_ever_keeps_the_heap_small():
    deadlines, fired = Deadlines(), Recorder()
    for n in range(20_000):
        thing = Thing()
        deadlines.arm(thing, 1_000_000 + n, fired)
        deadlines.disarm(thing)
    assert len(deadlines._heap) <= 65


def test_agrees_with_a_naive_model():
    rng = Random(5)
    deadlines, fired = Deadlines(), Recorder()
    things = [Thing() for _ in range(40)]
    model: dict[Thing, int] = {}
    now = 0
    for _ in range(20_000):
        thing = rng.choice(things)
        match rng.randrange(4):
            case 0 | 1:
                model[thing] = now + rng.randrange(1, 50)
                deadlines.arm(thing, model[thing], fired)
            case 2:
                model.pop(thing, None)
                deadlines.disarm(thing)
            case 3:
                now += rng.randrange(10)
                deadlines.run(now)
                due = {t for t, at in model.items() if at <= now}
                assert {t for t, _ in fired.fired} == due
                fired.fired.clear()
                for t in due:
                    del model[t]
        assert deadlines.next_at() == min(model.values(), default=NEVER)
        assert len(deadlines) == len(model)
